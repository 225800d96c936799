import { readFileSync } from 'node:fs';

import react from '@vitejs/plugin-react';
import { defaultClientConditions, defaultServerConditions, runnerImport, type Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` finds a running gateway. */
const gateway = process.env['ALPHAPULSE_GATEWAY_URL'] ?? 'http://127.0.0.1:8000';

/** The licences of what `/api/docs` is built of, beside it. */
function licences(): Plugin {
  const files = ['LICENSE', 'NOTICE', 'swagger-ui-es-bundle.js.LICENSE.txt'];
  return {
    name: 'licences',
    generateBundle() {
      for (const name of files) {
        const source = readFileSync(new URL(`node_modules/swagger-ui-dist/${name}`, import.meta.url), 'utf8');
        this.emitFile({ type: 'asset', fileName: `licences/swagger-ui/${name}`, source });
      }
    },
  };
}

/** The client's module as it is written: the page is built without building that first. */
const onServer = { resolve: { conditions: ['source', ...defaultServerConditions] } };

/** The gateway of `--mode mock`; loaded only then, and by Vite, since it uses the client's sources, too. */
async function mockGateway(): Promise<Plugin> {
  const file = new URL('./dev/mock-gateway.ts', import.meta.url).pathname;
  const { module } = await runnerImport<typeof import('./dev/mock-gateway.ts')>(file, {
    configFile: false,
    // By name: the module's environment inherits nothing of `ssr`; `external` lists what Node imports itself.
    environments: { inline: { resolve: { ...onServer.resolve, noExternal: ['@alphapulse/client'], external: ['ws'] } } },
  });
  return module.mockGateway();
}

export default defineConfig(({ mode }) => ({
  // Relative, so that the page also works behind a path prefix of an ingress.
  base: './',
  resolve: { conditions: ['source', ...defaultClientConditions] },
  ssr: onServer,
  plugins: [react(), licences(), mode === 'mock' ? mockGateway() : []],
  server: mode === 'mock' ? {} : { proxy: { '/api': gateway, '/ws': { target: gateway, ws: true } } },
  build: {
    outDir: '../static',
    emptyOutDir: true,
    target: 'es2022',
    sourcemap: false,
    rolldownOptions: { input: { page: 'index.html', documentation: 'api/docs/index.html' } },
    // Swagger UI comes as one file of that size, and only its own page loads it.
    chunkSizeWarningLimit: 2_000,
  },
  test: {
    environment: 'happy-dom',
    include: ['tests/**/*.test.{ts,tsx}'],
    restoreMocks: true,
    coverage: {
      reporter: ['text'],
      include: ['src/**/*.{ts,tsx}'],
      exclude: ['src/main.tsx', 'src/documentation/**'],
      thresholds: { lines: 90 },
    },
  },
}));
