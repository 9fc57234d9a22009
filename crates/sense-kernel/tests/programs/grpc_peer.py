"""A gRPC server and a client of somebody else, for messages that nobody describes: bytes in, bytes out.

`grpc_peer.py serve` prints its port and answers until its input ends. `grpc_peer.py ask` connects to the port that the first line
of its input says, and then does what each line says, `METHOD KIND COUNT`, on this connection, and prints how the calls ended.
"""

import sys
from concurrent import futures

import grpc

SECRET = b"the-body-is-a-secret "


class Shop(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rsplit("/", 1)[-1]
        if name.startswith("Watch"):
            return grpc.unary_stream_rpc_method_handler(watch)
        if name.startswith("Send"):
            return grpc.stream_unary_rpc_method_handler(lambda messages, context: b"".join(messages)[:100])
        answers = {"Refuse": refuse, "Lose": lose}
        return grpc.unary_unary_rpc_method_handler(answers.get(name, lambda message, context: message))


def refuse(message, context):
    # Nothing was answered yet: status and head are the same block.
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "not yours")


def lose(message, context):
    # Head and message first, the status behind them.
    context.send_initial_metadata((("shop", "east"),))
    context.set_code(grpc.StatusCode.DATA_LOSS)
    return message


def watch(message, context):
    for _ in range(5):
        yield message
    if message.endswith(b"!"):
        context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=(Shop(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


def ask():
    print("idle", flush=True)
    channel = grpc.insecure_channel(f"127.0.0.1:{sys.stdin.readline().strip()}")
    grpc.channel_ready_future(channel).result()
    print("ready", flush=True)
    for line in sys.stdin:
        method, kind, count = line.split()
        codes = {}
        for _ in range(int(count)):
            code = call(channel, method, kind)
            codes[code] = codes.get(code, 0) + 1
        print(codes, flush=True)


def call(channel, method, kind):
    metadata = (("authorization", "Bearer a-key"),)
    try:
        if kind == "watch" or kind == "watch!":
            message = SECRET + (b"!" if kind == "watch!" else b".")
            assert len(list(channel.unary_stream(method)(message, metadata=metadata))) == 5
        elif kind == "send":
            channel.stream_unary(method)(iter([SECRET * 20] * 5), metadata=metadata)
        else:
            size = 4000 if kind == "large" else 3
            channel.unary_unary(method)(SECRET * size, metadata=metadata)
        return 0
    except grpc.RpcError as error:
        return error.code().value[0]


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else ask()
