import { defineConfig } from "vite";
import { svelte } from "@sveltejs/vite-plugin-svelte";

// `HOMEOSTAT_API=http://127.0.0.1:PORT npm run dev` shows a running instance's data with the sources as they are.
const api = process.env.HOMEOSTAT_API ?? "http://127.0.0.1:7700";

// Built assets are committed in the API crate, so that `cargo build` needs no Node.
export default defineConfig({
  plugins: [svelte()],
  base: "./",
  build: {
    assetsInlineLimit: 0,
    modulePreload: false,
    target: "es2022",
  },
  server: { proxy: { "/homeostat": api } },
});
