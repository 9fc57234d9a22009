// Compresses the built assets beside themselves, reproducibly, and refuses a console that has grown too large.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const OUT = new URL("../crates/api/assets", import.meta.url).pathname;
const GZIP_BYTES_MAX = 150 * 1024;

const files = (dir) =>
  readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? files(path) : [path];
  });

let total = 0;
for (const path of files(OUT).sort()) {
  if (path.endsWith(".gz")) continue;
  const packed = gzipSync(readFileSync(path), { level: 9 });
  writeFileSync(`${path}.gz`, packed);
  total += packed.length;
  console.log(`${packed.length.toString().padStart(8)} bytes gzip  ${path.slice(OUT.length + 1)}`);
}
console.log(`${total.toString().padStart(8)} bytes gzip in all, limit ${GZIP_BYTES_MAX}`);
if (total > GZIP_BYTES_MAX) process.exit(1);
