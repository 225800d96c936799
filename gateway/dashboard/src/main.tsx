import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { App } from './App.tsx';
import { streamToken } from './rest/credentials.ts';
import { streamUrl } from './stream/address.ts';
import './styles/base.css';
import './styles/layout.css';
import './styles/panels.css';
import { Store } from './view/store.ts';

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no #root');

const page = new URL(document.baseURI);
const store = new Store({ url: streamUrl(page), token: streamToken });

createRoot(root).render(
  <StrictMode>
    <App store={store} />
  </StrictMode>,
);
