"""OpenTelemetry's own SDK for Python, exporting metrics once: otlp_sdk.py grpc|http ADDRESS cumulative|delta.

Prints `exported`, or whatever the exporter says is wrong.
"""

import logging
import sys

from opentelemetry import metrics
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
transport, address, temporality = sys.argv[1:]
preferred = {}
if temporality == "delta":
    preferred = {kind: AggregationTemporality.DELTA for kind in (Counter, Histogram)}
if transport == "grpc":
    from grpc import Compression
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    exporter = OTLPMetricExporter(
        endpoint=address, insecure=True, compression=Compression.Gzip, preferred_temporality=preferred
    )
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    exporter = OTLPMetricExporter(endpoint=address, compression=Compression.Gzip, preferred_temporality=preferred)

resource = Resource.create(
    {"service.name": "shop", "service.namespace": "demo", "service.instance.id": transport + "-" + temporality}
)
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
provider = MeterProvider(
    metric_readers=[reader],
    resource=resource,
    views=[View(instrument_name="sizes", aggregation=ExponentialBucketHistogramAggregation())],
)
meter = provider.get_meter("test", "1.0")
orders = meter.create_counter("orders.placed", unit="{order}", description="Orders.")
queue = meter.create_up_down_counter("queue.length")
latency = meter.create_histogram("latency", unit="s")
sizes = meter.create_histogram("sizes", unit="By")
meter.create_observable_gauge("temperature", callbacks=[lambda _: [metrics.Observation(21.5, {"room.name": "küche"})]])
for round in range(2):
    orders.add(3, {"payment.kind": "card"})
    queue.add(2)
    latency.record(0.2)
    latency.record(7)
    sizes.record(1000)
    assert provider.force_flush(), "not flushed"
provider.shutdown()
print("exported")
