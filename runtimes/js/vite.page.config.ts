// The page that hamsa-export --to web puts beside a bundle: page/ -> hamsa_deploy/targets/site, with onnxruntime-web in
// it, so that nothing is fetched from elsewhere. hamsa-runtime.js is the package, for applications of one's own.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here("page"),
  base: "./",
  build: {
    outDir: here("../../hamsa_deploy/targets/site"),
    emptyOutDir: true,
    target: "es2023",
    modulePreload: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
    rollupOptions: {
      input: { page: here("page/index.html"), "hamsa-runtime": here("src/index.ts") },
      preserveEntrySignatures: "strict",
      output: {
        entryFileNames: "[name].js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
});
