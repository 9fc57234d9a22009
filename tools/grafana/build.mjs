// Bundles check.mjs with Grafana's data source for Node.js. What draws on a screen is replaced by a stub that answers
// everything with itself; what asks the server is Grafana's own code.
import { build } from "esbuild";

const DRAWS =
  /^(@grafana\/(ui|plugin-ui|assistant|i18n|faro.*|e2e-selectors)|monaco-.*|@emotion\/.*|react-(dom|use|window|highlight-words|router.*)|@hello-pangea\/.*|@floating-ui\/.*|prismjs)(\/.*)?$|\.css$/;

const STUB = `
  const target = function () { return stub; };
  const stub = new Proxy(target, {
    get: (_, name) => {
      if (name === "__esModule") return true;
      if (name === "then") return undefined;
      if (name === "prototype") return target.prototype;
      return name === Symbol.toPrimitive ? () => "" : stub;
    },
    apply: () => stub,
    construct: () => stub,
    getPrototypeOf: () => stub,
    has: () => true,
  });
  module.exports = stub;
`;

// What the library looks for in a browser when it is loaded.
const BROWSER = `
  import { createRequire } from "node:module";
  const require = createRequire(import.meta.url);
  const nothing = () => null;
  const element = () => ({ style: {}, setAttribute: nothing, appendChild: nothing });
  globalThis.window = globalThis;
  globalThis.grafanaBootData = { settings: { featureToggles: {}, datasources: {}, buildInfo: {} }, user: {}, navTree: [] };
  globalThis.document = {
    createElement: element, head: element(), body: element(), documentElement: element(),
    addEventListener: nothing, getElementsByTagName: () => [], querySelector: nothing,
  };
  globalThis.localStorage = { getItem: nothing, setItem: nothing, removeItem: nothing };
  globalThis.addEventListener = nothing;
  globalThis.location = { href: "http://localhost/", pathname: "/", search: "", hash: "", origin: "http://localhost" };
`;

const stubs = {
  name: "stubs",
  setup(bundler) {
    bundler.onResolve({ filter: DRAWS }, ({ path }) => ({ path, namespace: "stub" }));
    bundler.onLoad({ filter: /.*/, namespace: "stub" }, () => ({ contents: STUB, loader: "js" }));
  },
};

await build({
  entryPoints: ["check.mjs"],
  outfile: "node_modules/.bundle/check.mjs",
  bundle: true,
  platform: "node",
  format: "esm",
  logLevel: "error",
  banner: { js: BROWSER },
  plugins: [stubs],
});
