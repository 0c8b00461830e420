// The package: src/index.ts -> dist/index.js, with onnxruntime-web left to the application's own bundler.
import { defineConfig } from "vitest/config";

export default defineConfig({
  build: {
    lib: { entry: "src/index.ts", formats: ["es"], fileName: "index" },
    rollupOptions: { external: [/^onnxruntime-web/] },
    target: "es2023",
  },
  test: { include: ["tests/*.test.ts"], environment: "node" },
});
