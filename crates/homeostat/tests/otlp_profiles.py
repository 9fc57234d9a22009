"""Profiles of OpenTelemetry, made and sent by its own package for Python: otlp_profiles.py grpc|http ADDRESS SERVICE.

Prints `exported`, or whatever is wrong.
"""

import sys
import time
import urllib.request

from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2 as service
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.profiles.v1development import profiles_pb2 as profiles

transport, address, name = sys.argv[1:]
texts = ["", "samples", "count", "cpu", "nanoseconds", "main", "serve"]
dictionary = profiles.ProfilesDictionary(
    mapping_table=[profiles.Mapping()],
    function_table=[profiles.Function(), *(profiles.Function(name_strindex=index) for index in (5, 6))],
    location_table=[
        profiles.Location(),
        *(profiles.Location(lines=[profiles.Line(function_index=index)]) for index in (1, 2)),
    ],
    stack_table=[profiles.Stack(), profiles.Stack(location_indices=[2, 1])],
    string_table=texts,
)
profile = profiles.Profile(
    sample_type=profiles.ValueType(type_strindex=1, unit_strindex=2),
    period_type=profiles.ValueType(type_strindex=3, unit_strindex=4),
    period=50_000_000,
    time_unix_nano=time.time_ns(),
    duration_nano=1_000_000_000,
    samples=[profiles.Sample(stack_index=1, values=[19])],
)
resource = profiles.ResourceProfiles(scope_profiles=[profiles.ScopeProfiles(profiles=[profile])])
resource.resource.attributes.append(common.KeyValue(key="service.name", value=common.AnyValue(string_value=name)))
request = service.ExportProfilesServiceRequest(resource_profiles=[resource], dictionary=dictionary)
if transport == "grpc":
    import grpc
    from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2_grpc as stubs

    with grpc.insecure_channel(address.removeprefix("http://"), compression=grpc.Compression.Gzip) as channel:
        answer = stubs.ProfilesServiceStub(channel).Export(request, timeout=60)
else:
    post = urllib.request.Request(address, request.SerializeToString(), {"Content-Type": "application/x-protobuf"})
    with urllib.request.urlopen(post, timeout=60) as response:
        answer = service.ExportProfilesServiceResponse.FromString(response.read())
print("exported" if answer == service.ExportProfilesServiceResponse() else answer)
