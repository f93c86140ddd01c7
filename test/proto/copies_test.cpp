// No byte is copied between the kernel and a buffered protocol's memory, or from a received lease
// to the kernel: the memory that the kernel was given tells.
#include <ouro/proto/transport.hpp>

#include <algorithm>
#include <optional>

#include <ouro/testing/injection.hpp>

#include "recorder.hpp"

namespace ouro::test {
namespace {

using testing::door_call;
using testing::injection;

injection* watched = nullptr;

bool receives(door_call call) { return call == door_call::recv || call == door_call::recv_ring; }
bool sends(door_call call) {
    return call == door_call::send || call == door_call::send_pieces || call == door_call::try_send;
}

/// Runs `body` on every engine, behind something that notes which memory passes.
void run_watched(task<> (*body)()) {
    for (const engine which : {engine::uring, engine::plain_uring, engine::sim}) {
        BOOST_TEST_CONTEXT("engine " << static_cast<int>(which)) {
            injection watch({.notes_memory = true});
            watched = &watch;
            std::optional<testing::simulation> world;
            loop_options options = options_for(which);
            options.ring_buffer_count = 128;  // where each receive takes a whole buffer as well
            if (which == engine::sim) options = world.emplace(loopback(1)).options(options);
            run_with(watch.options(options), body);
            watched = nullptr;
        }
    }
}

/// What was received from the `from`th note on.
std::vector<injection::memory_use> received_since(std::size_t from) {
    std::vector<injection::memory_use> all;
    for (std::size_t i = from; i < watched->memory().size(); ++i) {
        if (receives(watched->memory()[i].call)) all.push_back(watched->memory()[i]);
    }
    return all;
}

/// Where a lease goes: it says when that is enough.
class outlet final : public protocol {
  public:
    std::shared_ptr<read_transport> from;
    void pause_writing() override { from->pause_reading(); }
    void resume_writing() override { from->resume_reading(); }
    void connection_lost(error) override { from.reset(); }
};

/// Passes leases on, as a proxy does.
class passing final : public lease_protocol {
  public:
    std::shared_ptr<transport> to;
    std::size_t byte_count = 0;
    void data_received(buffer_lease data) override {
        byte_count += data.size();
        to->write(std::move(data));
    }
    bool eof_received() override {
        to->write_eof();
        return true;
    }
    void connection_lost(error) override { to.reset(); }
};

/// Says itself how it wants its bytes.
class choosy final : public buffered_protocol {
  public:
    bool copies = true;
    std::string data{};
    std::vector<std::ptrdiff_t> hints{};
    std::vector<std::byte> memory = std::vector<std::byte>(1000);
    mut_bytes get_buffer(std::ptrdiff_t hint) override {
        hints.push_back(hint);
        return memory;
    }
    void buffer_updated(std::size_t count) override { data += as_text(bytes(memory).first(count)); }
    bool prefers_copies() const noexcept override { return copies; }
};

task<> who_prefers_copies_lends_no_memory() {
    auto [in, source] = co_await tcp_pair();
    const auto on = std::make_shared<choosy>();
    auto made = co_await create_connection([on] { return on; }, std::move(in));
    const std::size_t from = watched->memory().size();
    co_await source.send_all(as_bytes("small"));
    co_await eventually([&] { return on->data == "small"; });
    for (const auto& use : received_since(from)) BOOST_CHECK(use.call == door_call::recv_ring);
    BOOST_TEST(on->hints == std::vector<std::ptrdiff_t>{5}, boost::test_tools::per_element());
    on->copies = false;
    co_await source.send_all(as_bytes(", one more"));
    co_await eventually([&] { return last_of(on->hints) == -1; });
    BOOST_TEST(on->data == "small, one more");
    const std::size_t then = watched->memory().size();
    on->copies = true;
    co_await source.send_all(as_bytes(", direct"));
    co_await eventually([&] { return on->data == "small, one more, direct"; });
    for (const auto& use : received_since(then)) BOOST_CHECK(use.call == door_call::recv);
    BOOST_TEST(on->hints.size() == 3U);  // and none for what comes next
    made.transport->abort();
}

task<> the_kernel_fills_the_protocols_own_memory() {
    auto seen = make_recorder(kind::buffered);
    seen->memory.resize(100'000);
    const bytes memory = seen->memory;
    auto on = co_await connect_recorder(seen, medium::tcp);
    const std::size_t from = watched->memory().size();
    const std::string sent = pattern(400'000);
    auto sending = spawn(send_text(on.kept_peer, sent));
    co_await eventually([&] { return on.seen->data.size() == sent.size(); });
    co_await sending;
    BOOST_CHECK(on.seen->data == sent);
    const auto uses = received_since(from);
    BOOST_TEST(!uses.empty());
    for (const auto& use : uses) {
        BOOST_CHECK(use.call == door_call::recv);
        BOOST_CHECK(use.data == memory.data());
        BOOST_TEST(use.length == memory.size());
    }
}

task<> what_is_passed_on_leaves_from_where_it_came() {
    constexpr std::size_t total = 3'000'000;
    auto passer = std::make_shared<passing>();
    auto [in, source] = co_await tcp_pair();
    auto [out, sink] = co_await tcp_pair();
    const int out_fd = out.fd();
    auto behind =
        co_await create_connection([] { return std::make_shared<outlet>(); }, std::move(out));
    passer->to = behind.transport;
    auto before = co_await create_connection([&] { return passer; }, std::move(in));
    behind.protocol->from = before.transport;
    const std::size_t from = watched->memory().size();
    const auto kept_source = std::make_shared<socket>(std::move(source));
    // The source uses the door itself, with memory that this task owns.
    auto sending = spawn([](std::shared_ptr<socket> to) -> task<> {
        co_await to->send_all(as_bytes(pattern(total)));
        co_await to->shutdown_write();
    }(kept_source));
    const std::string got = co_await read_to_end(sink);
    co_await sending;
    BOOST_CHECK(got == pattern(total));
    BOOST_TEST(passer->byte_count == total);
    std::vector<injection::memory_use> lent;
    std::size_t passed_on = 0, copied = 0;
    for (std::size_t i = from; i < watched->memory().size(); ++i) {
        const auto& use = watched->memory()[i];
        if (use.call == door_call::recv_ring) {
            lent.push_back(use);
        } else if (sends(use.call) && use.fd == out_fd) {
            const bool lent_before = std::any_of(lent.begin(), lent.end(), [&](const auto& each) {
                return use.data >= each.data && use.data < each.data + each.length;
            });
            ++(lent_before ? passed_on : copied);
        }
    }
    BOOST_TEST(passed_on > 0U);
    BOOST_TEST(copied == 0U);
    BOOST_TEST(loop::current().statistics().lease_copies == 0U);
    BOOST_TEST(before.transport->statistics().bytes_received == total);
    BOOST_TEST(behind.transport->statistics().bytes_sent == total);
    before.transport->abort();
    behind.transport->abort();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(copies)

BOOST_AUTO_TEST_CASE(a_buffered_protocol_costs_no_copy) {
    run_watched(&the_kernel_fills_the_protocols_own_memory);
}

BOOST_AUTO_TEST_CASE(a_protocol_that_prefers_copies_is_asked_when_bytes_are_there) {
    run_watched(&who_prefers_copies_lends_no_memory);
}

BOOST_AUTO_TEST_CASE(passing_a_lease_on_costs_no_copy) {
    run_watched(&what_is_passed_on_leaves_from_where_it_came);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
