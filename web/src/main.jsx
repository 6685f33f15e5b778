import { createRoot } from 'react-dom/client';
import { GraphiQL } from 'graphiql';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { explorerPlugin } from '@graphiql/plugin-explorer';
import { createClient } from 'graphql-ws';
import { setNonce } from 'get-nonce';

import 'graphiql/style.css';
import '@graphiql/plugin-explorer/style.css';
import './style.css';

// What the server says: the paths, and the queries to begin with.
const config = JSON.parse(document.getElementById('config').textContent);

// Dialogs add a <style> element, which the page's policy allows with its nonce.
setNonce(config.nonce);

// The queries of one server are no use on the next one, and both may have had
// the same address (demo today, another folder of lexicons tomorrow). So what
// GraphiQL remembers is kept apart by what it began with.
function storage(prefix) {
  const own = key => key.startsWith(prefix);
  return {
    get length() {
      return Object.keys(localStorage).filter(own).length;
    },
    getItem: key => localStorage.getItem(prefix + key),
    setItem: (key, value) => localStorage.setItem(prefix + key, value),
    removeItem: key => localStorage.removeItem(prefix + key),
    clear: () => Object.keys(localStorage).filter(own).forEach(key => localStorage.removeItem(key)),
  };
}

// FNV-1a, 32 bits: enough to tell sets of queries apart.
function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  }
  return (h >>> 0).toString(36);
}

const url = new URL(config.graphqlPath, location.href);
const subscriptionURL = new URL(config.subscriptionPath, location.href);
subscriptionURL.protocol = subscriptionURL.protocol.replace('http', 'ws');

const fetcher = createGraphiQLFetcher({
  url: url.href,
  // Connects when the first subscription starts, not before.
  wsClient: createClient({ url: subscriptionURL.href, lazy: true }),
});

const plugins = [explorerPlugin({ showAttribution: false })];

function Console() {
  return (
    <GraphiQL
      fetcher={fetcher}
      plugins={plugins}
      storage={storage(`atview:${hash(config.queries.join('\0'))}:`)}
      defaultTabs={config.queries.map(query => ({ query }))}
      defaultEditorToolsVisibility={false}
      inputValueDeprecation
      schemaDescription
    >
      <GraphiQL.Logo>
        <span className="atview-logo">{config.title}</span>
      </GraphiQL.Logo>
    </GraphiQL>
  );
}

createRoot(document.getElementById('console')).render(<Console />);
