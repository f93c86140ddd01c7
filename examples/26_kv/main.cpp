// A key-value service for redis-cli, redis-benchmark and other clients of Redis.
#include "../service.hpp"
#include "session.hpp"

using namespace std::chrono_literals;

constexpr const char* usage =
    R"(usage: 26_kv [PLACE]
A key-value service in memory that speaks Redis' protocol:
GET SET MGET MSET DEL EXISTS INCR DECR INCRBY DECRBY EXPIRE PEXPIRE TTL PTTL PERSIST
PING ECHO INFO COMMAND CONFIG GET DBSIZE FLUSHALL SELECT QUIT
PLACE  a port of 127.0.0.1 (0: a free one), HOST:PORT, [HOST]:PORT or unix:PATH; default 6380
Nothing is kept when it ends. Ctrl-C ends it, after what was asked has been answered.
)";

// Expired keys are never seen; this is about their memory.
constexpr auto sweep_every = 100ms;
constexpr std::size_t sweep_at_once = 1000;

ouro::task<> sweep(std::shared_ptr<kv::database> in) {
    while (true) {
        co_await ouro::sleep(sweep_every);
        in->data.set_now(ouro::loop::current().time());
        while (in->data.drop_expired(sweep_at_once)) co_await ouro::yield();
    }
}

ouro::task<int> serve(ouro::address where) {
    auto in = std::make_shared<kv::database>();
    in->started = ouro::loop::current().time();
    const auto sweeping = ouro::spawn(sweep(in));
    auto factory = [in] { return std::make_shared<kv::session>(in); };
    co_return co_await service::serve(ouro::create_server(factory, where));
}

int main(int argc, char** argv) { return service::main(usage, "6380", argc, argv, serve); }
