// Builds the console: bundles with Vite, then compresses each file beside itself, reproducibly, and refuses a console that has
// grown too large. `--out DIR` builds elsewhere, so that the committed assets can be compared with their sources.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const GZIP_BYTES_MAX = 150 * 1024;
const at = process.argv.indexOf("--out");
const out = resolve(at < 0 ? "../crates/api/assets" : process.argv[at + 1]);

await build({ logLevel: "warn", build: { outDir: out, emptyOutDir: true } });

const files = (dir) =>
  readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? files(path) : [path];
  });

let total = 0;
for (const path of files(out).sort()) {
  const packed = gzipSync(readFileSync(path), { level: 9 });
  writeFileSync(`${path}.gz`, packed);
  total += packed.length;
  console.log(`${packed.length.toString().padStart(8)} bytes gzip  ${path.slice(out.length + 1)}`);
}
console.log(`${total.toString().padStart(8)} bytes gzip in all, limit ${GZIP_BYTES_MAX}`);
if (total > GZIP_BYTES_MAX) process.exit(1);
