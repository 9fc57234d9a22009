// The last minute of traffic per service and version, as the event stream tells it every 100 ms.

const KEPT_MS = 60_000;

export class TrafficHistory {
  /** Counts up with every change; charts watch it. */
  revision = $state(0);
  /** service -> version -> { at: [s], good: [1/s], bad: [1/s] } */
  #services = new Map();
  #lastMs = null;

  add({ at, versions }) {
    const ms = at / 1e6;
    const seconds = this.#lastMs === null ? 0.1 : Math.max((ms - this.#lastMs) / 1000, 0.01);
    this.#lastMs = ms;
    for (const sample of versions) {
      const service = this.#services.get(sample.service) ?? this.#services.set(sample.service, new Map()).get(sample.service);
      if (!service.has(sample.version)) service.set(sample.version, { at: [], good: [], bad: [] });
    }
    for (const [name, service] of this.#services) {
      for (const [version, series] of service) {
        const sample = versions.find((s) => s.service === name && s.version === version);
        series.at.push(ms / 1000);
        series.good.push((sample?.good ?? 0) / seconds);
        series.bad.push((sample?.bad ?? 0) / seconds);
        while (series.at.length > 0 && series.at[0] < (ms - KEPT_MS) / 1000) {
          series.at.shift();
          series.good.shift();
          series.bad.shift();
        }
      }
    }
    this.revision += 1;
  }

  /** Series of a service on one time axis: [times, then per version good and bad], and the versions' names. */
  of(service) {
    const versions = [...(this.#services.get(service) ?? new Map())].sort(([a], [b]) => a.localeCompare(b));
    const times = [...new Set(versions.flatMap(([, series]) => series.at))].sort((a, b) => a - b);
    const aligned = (series, values) => {
      const byTime = new Map(series.at.map((at, index) => [at, values[index]]));
      return times.map((at) => byTime.get(at) ?? null);
    };
    const columns = versions.flatMap(([, series]) => [aligned(series, series.good), aligned(series, series.bad)]);
    return { names: versions.map(([name]) => name), data: [times, ...columns] };
  }
}
