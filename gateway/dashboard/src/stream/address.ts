/** Where the stream is. */

/** The stream's address beside the page's: ws/v1 under the same path, wss for https. */
export function streamUrl(page: URL): string {
  const url = new URL('ws/v1', page);
  url.protocol = page.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = '';
  url.search = '';
  return url.href;
}

export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || hostname.startsWith('127.');
}
