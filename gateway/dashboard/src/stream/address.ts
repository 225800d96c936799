/** The stream's address beside the page's: ws/v2 under the same path, wss for https. */
export function streamUrl(page: URL): string {
  const url = new URL('ws/v2', page);
  url.protocol = page.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = '';
  url.search = '';
  return url.href;
}
