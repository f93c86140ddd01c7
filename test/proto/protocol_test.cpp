// Protocols: what the base classes do by themselves, and the contract of the calls.
#include <ouro/proto/protocol.hpp>

#include "recorder.hpp"

namespace ouro::test {
namespace {

/// Overrides nothing.
class plain_protocol final : public protocol {};

/// Overrides only what it must.
class plain_buffered final : public buffered_protocol {
  public:
    mut_bytes get_buffer(std::ptrdiff_t) override { return room_; }
    void buffer_updated(std::size_t count) override { received += count; }
    std::size_t received = 0;

  private:
    std::array<std::byte, 16> room_{};
};

/// Is both kinds by its looks: what it derives from decides.
class streaming_with_a_buffer final : public protocol {
  public:
    mut_bytes get_buffer(std::ptrdiff_t) { return {}; }
    void buffer_updated(std::size_t) {}
    void data_received(bytes data) override { received += data.size(); }
    std::size_t received = 0;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(protocols)

// rules 302, 305
OURO_ASYNC_TEST(a_protocol_that_overrides_nothing_closes_at_end_of_stream) {
    for (const bool buffered : {false, true}) {
        for (const way& how : each_medium) {
            BOOST_TEST_INFO_SCOPE(how << (buffered ? ", but buffered" : ""));
            auto [own, peer] = co_await socket_pair(how.over);
            const auto factory = [&]() -> std::shared_ptr<base_protocol> {
                if (buffered) return std::make_shared<plain_buffered>();
                return std::make_shared<plain_protocol>();
            };
            auto made = co_await create_connection(factory, std::move(own));
            BOOST_CHECK(!made.transport->write("greetings"));
            send_now(peer, "ignored by one kind, counted by the other");
            end_now(peer);
            BOOST_TEST(co_await read_to_end(peer) == "greetings");
            co_await eventually([&] { return made.transport->get_protocol() == nullptr; });
        }
    }
}

// rules 274, 283
OURO_ASYNC_TEST(a_protocol_that_overrides_nothing_may_be_paused_and_resumed) {
    auto [own, peer] = co_await socket_pair(medium::unix_stream);
    auto made = co_await create_connection([] { return std::make_shared<plain_protocol>(); },
                                           std::move(own));
    BOOST_CHECK(!made.transport->write(pattern(too_much_bytes)));
    made.transport->close();
    BOOST_CHECK(co_await read_to_end(peer) == pattern(too_much_bytes));
}

// rule 290
OURO_ASYNC_TEST(the_base_class_decides_the_kind) {
    auto [own, peer] = co_await socket_pair(medium::unix_stream);
    auto made = co_await create_connection(
        [] { return std::make_shared<streaming_with_a_buffer>(); }, std::move(own));
    send_now(peer, "text");
    co_await eventually([&] { return made.protocol->received == 4; });
    peer.close();
    co_await eventually([&] { return made.transport->is_closing(); });
}

// rules 262, 267
OURO_ASYNC_TEST(the_creator_resumes_after_connection_made_and_with_reading_armed) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto [own, peer] = co_await socket_pair(how.over);
        auto seen = make_recorder(how.receiver);
        const auto ops = loop::current().counters().ops;
        auto made = co_await create_connection(factory_of(seen), std::move(own));
        BOOST_TEST(seen->story() == "made");
        BOOST_CHECK(seen->link == made.transport);
        BOOST_CHECK(made.protocol == seen->as_protocol());
        BOOST_TEST(loop::current().counters().ops == ops + 1);
        made.transport->abort();
        co_await eventually([&] { return seen->lost(); });
    }
}

// rules 266, 741
OURO_ASYNC_TEST(no_call_of_a_user_runs_connection_made_or_lost_or_data_from_inside) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        send_now(on.peer, "waiting in the socket");
        const bytes chunks[] = {as_bytes("one"), as_bytes("two")};
        const auto calls = std::to_array<std::function<void()>>({
            [&] { on.link->pause_reading(); },
            [&] { on.link->resume_reading(); },
            [&] { BOOST_CHECK(!on.link->write("x")); },
            [&] { BOOST_CHECK(!on.link->writelines(chunks)); },
            [&] { BOOST_CHECK(!on.link->set_write_buffer_limits(100'000'000)); },
            [&] { BOOST_CHECK(!on.link->write(pattern(too_much_bytes))); },
            [&] { on.link->close(); },
            [&] { BOOST_CHECK(!on.link->writelines(chunks)); },
            [&] { on.link->abort(); },
        });
        for (const auto& call : calls) {
            call();
            BOOST_TEST(on.seen->story() == "made");
        }
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made lost");
    }
}

// rules 263, 264
OURO_ASYNC_TEST(a_connection_is_lost_once_and_its_protocol_released) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto destroyed = std::make_shared<bool>(false);
        auto on = co_await connect_recorder(how);
        on.seen->destroyed = destroyed;
        on.seen->on_lost = [seen = on.seen.get()] { seen->link.reset(); };
        const std::weak_ptr<transport> link = on.link;
        on.link->abort();
        on.link->close();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->losses == 1);
        on.link.reset();
        on.seen.reset();
        co_await settle();
        BOOST_TEST(*destroyed);
        BOOST_TEST(link.expired());
    }
}

// rules 739, 740
OURO_ASYNC_TEST(a_close_by_an_earlier_callback_suppresses_later_data) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto first = co_await connect_recorder(how);
        auto second = co_await connect_recorder(how);
        // Whichever of the two is served first closes the other one, whose data is in the same
        // batch of completions.
        first.seen->on_data = [&] { second.link->close(); };
        second.seen->on_data = [&] { first.link->close(); };
        co_await settle();
        send_now(first.peer, "a");
        send_now(second.peer, "b");
        co_await eventually([&] { return first.seen->lost() || second.seen->lost(); });
        co_await settle(10);
        BOOST_TEST(first.seen->data.size() + second.seen->data.size() == 1U);
        BOOST_TEST(first.seen->lost() != second.seen->lost());
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
