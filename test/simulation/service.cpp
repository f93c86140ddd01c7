// How servers and clients of each kind come to their connections.
#include "service.hpp"

#include <netinet/in.h>

#include <algorithm>

#include <ouro/testing/simulation.hpp>

namespace ouro::simulated {
namespace {

using namespace std::chrono_literals;
using testing::simulation;

constexpr std::uint16_t first_port = 5000;

}  // namespace

// ---- servers

service::service(std::shared_ptr<scene> in, int number, manner how, bool unix_domain)
    : in_(std::move(in)), number_(number), how_(how) {
    if (unix_domain) return;
    const std::string host = "10.0.0." + std::to_string(2 + number);
    where_ = *address::from_ip(host, static_cast<std::uint16_t>(first_port + number));
    name_ = "service-" + std::to_string(number);
    // Now and then the first address of the name is of a host without a server.
    const bool astray = !in_->strict && once_in(3);
    simulation::current().set_name(name_, astray ? std::vector<std::string>{"10.0.0.200", host}
                                                 : std::vector<std::string>{host});
}

/// The path of a unix socket stays in use after it was closed.
void service::choose_path() {
    where_ = *address::from_path("/run/service-" + std::to_string(number_) + "." +
                                 std::to_string(times_opened_));
}

template <class Talker>
auto service::factory() {
    return [in = in_, number = tag()] {
        return std::make_shared<Talker>(in, side::server, nullptr, number);
    };
}

task<> service::open() {
    for (;;) {
        ++times_opened_;
        if (name_.empty()) choose_path();
        auto opened = co_await as_result(open_once());
        if (opened) break;
        if (in_->strict || !may_prevent_a_connection(opened.error())) {
            wrong("a server could not be opened: " + opened.error().message());
        }
        co_await sleep(10ms);
    }
    open_ = true;
}

task<> service::open_once() {
    server_options options;
    options.backlog_count = static_cast<int>(draw(1, 20));
    switch (how_) {
    case manner::streaming:
        server_ = co_await create_server(factory<streaming_talker>(), where_, options);
        break;
    case manner::buffered:
        server_ = co_await create_server(factory<buffered_talker>(), where_, options);
        break;
    case manner::streams: {
        auto handler = [in = in_, number = tag()](stream_reader reader, stream_writer writer) {
            return talk_on_streams(make_party(in, side::server, nullptr, number), std::move(reader),
                                   std::move(writer));
        };
        server_ = co_await start_server(handler, where_,
                                        {.server = options, .limit_bytes = draw(1, 8'000)});
        break;
    }
    case manner::socket: {
        auto listener =
            std::make_shared<socket>(co_await socket::open(loop::current(), where_.family()));
        if (where_.family() != AF_UNIX) {
            co_await listener->set_option(SOL_SOCKET, SO_REUSEADDR, 1);
        }
        co_await listener->bind(where_);
        co_await listener->listen(options.backlog_count);
        accepting_ = spawn(accept_all(std::move(listener)));
    }
    }
}

task<> service::accept_all(std::shared_ptr<socket> listener) {
    for (;;) {
        auto got = co_await as_result(listener->accept());
        if (got) {
            spawn(talk_on_socket(make_party(in_, side::server, nullptr, tag()), std::move(*got)));
            continue;
        }
        if (got.error() == errc::cancelled) co_return;
        constexpr std::errc shortages[] = {std::errc::connection_aborted,
                                           std::errc::too_many_files_open,
                                           std::errc::too_many_files_open_in_system,
                                           std::errc::no_buffer_space,
                                           std::errc::not_enough_memory,
                                           std::errc::protocol_error,
                                           std::errc::operation_not_permitted};
        const auto* const found = std::find_if(std::begin(shortages), std::end(shortages),
                                               [&](std::errc each) { return got.error() == each; });
        if (found == std::end(shortages)) wrong("accept failed: " + got.error().message());
        co_await sleep(10ms);
    }
}

void service::close() {
    if (!std::exchange(open_, false)) return;
    if (how_ != manner::socket) return server_.close();
    accepting_.cancel();
}

void service::break_off_clients(int tag) const {
    for (const auto& [number, each] : in_->parties) {
        if (each->is_server_of(tag)) each->break_off();
    }
}

void service::abort_clients() {
    if (how_ == manner::socket) return;
    break_off_clients(tag());
    server_.abort_clients();
}

timer_handle service::close_clients() {
    if (how_ == manner::socket) return {};
    break_off_clients(tag());
    server_.close_clients();
    // By then another server may be open here, whose connections are none of these.
    return loop::current().call_later(close_patience,
                                      [this, old = server_, number = tag()]() mutable {
                                          break_off_clients(number);
                                          old.abort_clients();
                                      });
}

task<> service::closed() {
    if (how_ != manner::socket) co_return co_await server_.wait_closed();
    (void)co_await as_result(accepting_.join());
}

// ---- clients

namespace {

/// Why no connection came about: whether that can be.
void check_refusal(const scene& in, const error& why) {
    if (why == errc::cancelled) return;
    if (in.strict || !may_prevent_a_connection(why)) {
        wrong("a client could not connect: " + why.message());
    }
}

connect_options draw_origin(const address& where) {
    connect_options options;
    if (where.family() != AF_INET || once_in(2)) return options;
    options.local = *address::from_ip("10.0.0." + std::to_string(draw(100, 103)), 0);
    return options;
}

template <class Talker>
task<> be_talker(std::shared_ptr<scene> in, std::shared_ptr<service> at) {
    auto me = std::make_shared<Talker>(in, side::client, in->converse(), at->number());
    const connect_options options = draw_origin(at->where());
    const bool by_name = !at->name().empty() && once_in(2);
    const auto factory = [me] { return me; };
    auto made = co_await as_result(
        by_name ? create_connection(factory, at->name(), at->where().port(), options)
                : create_connection(factory, at->where(), options));
    if (!made) {
        check_refusal(*in, made.error());
        co_await std::move(made);
    }
    if (me->is_over()) co_return;
    auto over = co_await as_result(me->over.wait());
    if (!over) me->walk_out();
    co_await std::move(over);
}

task<> be_streamer(std::shared_ptr<scene> in, std::shared_ptr<service> at) {
    const stream_options options{.connect = draw_origin(at->where()),
                                 .limit_bytes = draw(1, 8'000)};
    const bool by_name = !at->name().empty() && once_in(2);
    auto made =
        co_await as_result(by_name ? open_connection(at->name(), at->where().port(), options)
                                   : open_connection(at->where(), options));
    if (!made) {
        check_refusal(*in, made.error());
        co_await std::move(made);
    }
    co_await talk_on_streams(make_party(in, side::client, in->converse(), at->number()),
                             std::move(made->reader), std::move(made->writer));
}

task<> be_socket(std::shared_ptr<scene> in, std::shared_ptr<service> at) {
    const address where = at->where();
    const connect_options options = draw_origin(where);
    auto own = socket::open(loop::current(), where.family());
    if (own && options.local) {
        auto bound = own->bind(options.local);
        if (!bound) own = std::move(bound.error());
    }
    result<> connected;
    if (own) connected = co_await as_result(own->connect(where));
    if (!own || !connected) {
        const error why = own ? connected.error() : own.error();
        check_refusal(*in, why);
        co_await result<>(why);
    }
    co_await talk_on_socket(make_party(in, side::client, in->converse(), at->number()),
                            std::move(*own));
}

}  // namespace

task<> be_client(std::shared_ptr<scene> in, std::shared_ptr<service> at, manner how) {
    switch (how) {
    case manner::streaming:
        return be_talker<streaming_talker>(std::move(in), std::move(at));
    case manner::buffered:
        return be_talker<buffered_talker>(std::move(in), std::move(at));
    case manner::streams:
        return be_streamer(std::move(in), std::move(at));
    case manner::socket:
        break;
    }
    return be_socket(std::move(in), std::move(at));
}

}  // namespace ouro::simulated
