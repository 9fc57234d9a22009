import { defineConfig } from "vite";
import { svelte } from "@sveltejs/vite-plugin-svelte";

// Built assets are committed in the API crate, so that `cargo build` needs no Node.
export default defineConfig({
  plugins: [svelte()],
  base: "./",
  build: {
    assetsInlineLimit: 0,
    modulePreload: false,
    target: "es2022",
  },
  server: { proxy: { "/homeostat": "http://127.0.0.1:7700" } },
});
