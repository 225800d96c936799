import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

import { mockGateway } from './dev/mock-gateway.ts';

/** Where `npm run dev` finds a running gateway. */
const gateway = process.env['ALPHAPULSE_GATEWAY_URL'] ?? 'http://127.0.0.1:8000';

export default defineConfig(({ mode }) => ({
  // Relative, so that the page also works behind a path prefix of an ingress.
  base: './',
  plugins: [react(), ...(mode === 'mock' ? [mockGateway()] : [])],
  server: mode === 'mock' ? {} : { proxy: { '/api': gateway, '/ws': { target: gateway, ws: true } } },
  build: { outDir: '../static', emptyOutDir: true, target: 'es2022', sourcemap: false },
  test: {
    environment: 'happy-dom',
    include: ['tests/**/*.test.{ts,tsx}'],
    restoreMocks: true,
    coverage: {
      reporter: ['text'],
      include: ['src/**/*.{ts,tsx}'],
      exclude: ['src/main.tsx'],
      thresholds: { lines: 90 },
    },
  },
}));
