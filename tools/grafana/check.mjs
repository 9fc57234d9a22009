// Grafana's own Prometheus data source against a running server: what it asks for variables, completion, filters, rules
// and exemplars, by GET and by POST. Fails where an answer is refused or not what the server holds.
//
//   node node_modules/.bundle/check.mjs http://127.0.0.1:PORT
//
// The server scrapes itself as job "self" and has the rules of `rules.yml`. The library is under the AGPL: it is installed to
// be run here, and neither it nor the bundle is part of what is given away. Not here: queries for panels; they go through
// Grafana's server, which is written in Go and in no package registry.
import assert from "node:assert/strict";
import { dateTime } from "@grafana/data";
import { setBackendSrv, setTemplateSrv } from "@grafana/runtime";
import { from } from "rxjs";
import { PrometheusDatasource } from "./node_modules/@grafana/prometheus/dist/esm/datasource.mjs";

const origin = process.argv[2];
const asked = [];

/** Grafana's server hands what is asked under `resources` on to the data source, as it is. */
async function handOn({ url, method = "GET", params, data }) {
  const [, path] = url.split("/resources");
  assert.ok(path, `a resource is asked for: ${url}`);
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries((method === "GET" ? params : data) ?? {})) {
    for (const one of [value].flat()) if (one !== undefined && one !== null) form.append(name, String(one));
  }
  const [target, body] = method === "GET" && form.size > 0 ? [`${path}?${form}`, undefined] : [path, method === "GET" ? undefined : form];
  const response = await fetch(origin + target, { method, body });
  asked.push(`${method} ${path.split("?")[0]} ${response.status}`);
  const answer = await response.json();
  assert.equal(response.status, 200, `${method} ${target}: ${JSON.stringify(answer)}`);
  return { data: answer, status: response.status, ok: true };
}

setBackendSrv({ fetch: (options) => from(handOn(options)), get: async (url, params) => (await handOn({ url, params })).data });
setTemplateSrv({ replace: (text) => text, getVariables: () => [], containsTemplate: () => false, updateTimeRange() {} });

for (const httpMethod of ["GET", "POST"]) {
  asked.length = 0;
  const jsonData = { httpMethod, prometheusType: "Prometheus", prometheusVersion: "3.5.0" };
  const source = new PrometheusDatasource({ id: 1, uid: "h", type: "prometheus", name: "Homeostat", url: "", meta: {}, access: "proxy", jsonData });
  const end = Date.now();
  const range = { from: dateTime(end - 3_600_000), to: dateTime(end), raw: { from: "now-1h", to: "now" } };
  await source.loadRules();
  assert.equal(await source.areExemplarsAvailable(), true, "exemplars can be asked for");
  await source.languageProvider.start(range);
  const texts = async (query) => (await source.metricFindQuery(query, { range })).map(({ text }) => text);
  const filters = { filters: [], timeRange: range, queries: [{ expr: "up", refId: "A" }] };

  assert.equal(source.ruleMappings["job:up:sum"][0].query, "sum by (job) (up)");
  assert.ok(source.languageProvider.retrieveMetrics().includes("up"), "metrics for completion");
  const described = Object.values(source.languageProvider.retrieveMetricsMetadata());
  assert.ok(described.some(({ type, help }) => type === "counter" && help !== ""), "metadata for completion");
  assert.deepEqual(await texts("label_values(up, job)"), ["self"]);
  assert.ok((await texts("label_names()")).includes("instance"));
  assert.deepEqual(await texts("metrics(^up$)"), ["up"]);
  assert.match((await texts("query_result(count(up))"))[0], /^\{\} 1 \d+$/);
  assert.match((await texts("up"))[0], /^up\{instance="127\.0\.0\.1:\d+",job="self"\}$/);
  assert.deepEqual((await source.getTagKeys(filters)).map(({ text }) => text).filter((name) => !name.startsWith("__")), ["instance", "job"]);
  assert.deepEqual((await source.getTagValues({ ...filters, key: "job" })).map(({ text }) => text), ["self"]);
  for (const path of ["query", "series", "labels", "query_exemplars"]) {
    assert.ok(asked.includes(`${httpMethod} /api/v1/${path} 200`), `${path} is asked by ${httpMethod}`);
  }
  console.log(asked.join("\n"));
}
console.log("Grafana's data source found what it asked for, by GET and by POST");
