import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    restoreMocks: true,
    coverage: { reporter: ['text'], include: ['src/**/*.ts'], thresholds: { lines: 90 } },
  },
});
