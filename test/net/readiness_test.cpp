// Descriptors of others: called as long as they are ready, and never again once removed.
#include <ouro/net/readiness.hpp>

#include "async_test.hpp"
#include "at_once.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <utility>

#include <ouro/runtime/context.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/testing/injection.hpp>

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

/// A count that callbacks share with the test; what is watched for it ends with the test.
class calls {
  public:
    ~calls() {
        for (const int fd : readers_) remove_reader(fd);
        for (const int fd : writers_) remove_writer(fd);
    }
    void read(int fd) {
        require(add_reader(fd, [count = count_] { ++*count; }));
        readers_.push_back(fd);
    }
    void write(int fd) {
        require(add_writer(fd, [count = count_] { ++*count; }));
        writers_.push_back(fd);
    }
    int so_far() const noexcept { return *count_; }
    /// True once it was called `more` times from here on.
    task<> come(int more = 3) {
        const int enough = *count_ + more;
        co_await eventually([count = count_, enough] { return *count >= enough; });
    }
    /// Whether nobody calls.
    task<bool> stay_away() {
        co_await settle(3);  // what was found ready before
        const int before = *count_;
        co_await sleep(1ms);
        co_await settle(5);
        co_return *count_ == before;
    }

  private:
    static void require(const result<>& added) { BOOST_REQUIRE(added.has_value()); }
    std::shared_ptr<int> count_ = std::make_shared<int>(0);
    std::vector<int> readers_, writers_;
};

/// Removes a reader when the scope ends.
struct reader_until_here {
    int fd;
    ~reader_until_here() { remove_reader(fd); }
};

task<> note_when_readable(int fd, std::shared_ptr<int> ready) {
    co_await readable(fd);
    ++*ready;
}
task<> note_when_writable(int fd, std::shared_ptr<int> ready) {
    co_await writable(fd);
    ++*ready;
}

task_local<int> request;

}  // namespace

BOOST_AUTO_TEST_SUITE(readiness)

// rule 681
OURO_ASYNC_TEST(a_reader_is_called_again_and_again_while_there_is_something_to_read) {
    auto [near, far] = co_await socket::pair(loop::current());
    calls reading;
    reading.read(near.fd());
    BOOST_TEST(co_await reading.stay_away());
    BOOST_TEST(reading.so_far() == 0);
    send_now(far, "hello");
    co_await reading.come(5);
    co_await drain(near);
    BOOST_TEST(co_await reading.stay_away());
    send_now(far, "again");
    co_await reading.come();
    co_await drain(near);
    end_now(far);
    co_await reading.come();  // the end can be read
}

// rule 681
OURO_ASYNC_TEST(a_writer_is_called_again_and_again_while_there_is_room) {
    auto [near, far] = co_await socket::pair(loop::current());
    calls writing;
    writing.write(near.fd());
    co_await writing.come(5);
    fill_now(near);
    BOOST_TEST(co_await writing.stay_away());
    co_await drain(far);
    co_await writing.come();
}

// rule 678
OURO_ASYNC_TEST(a_reader_and_a_writer_of_one_descriptor_are_independent) {
    auto [near, far] = co_await socket::pair(loop::current());
    calls reading, writing;
    reading.read(near.fd());
    writing.write(near.fd());
    co_await writing.come();
    BOOST_TEST(reading.so_far() == 0);
    send_now(far, "hello");
    co_await reading.come();
    BOOST_TEST(remove_writer(near.fd()));
    BOOST_TEST(co_await writing.stay_away());
    co_await reading.come();
    writing.write(near.fd());
    BOOST_TEST(remove_reader(near.fd()));
    BOOST_TEST(co_await reading.stay_away());
    co_await writing.come();
}

// rule 677
OURO_ASYNC_TEST(another_reader_takes_the_place_of_the_first_which_is_destroyed_at_once) {
    auto [near, far] = co_await socket::pair(loop::current());
    send_now(far, "hello");
    for (const int turns : {0, 1, 3}) {
        auto first = std::make_shared<int>(0);
        const std::weak_ptr<int> gone = first;
        const reader_until_here end{near.fd()};
        co_await add_reader(near.fd(), [first] { ++*first; });
        first.reset();
        co_await settle(turns);
        calls second;
        second.read(near.fd());
        BOOST_TEST(gone.expired());
        co_await second.come();
    }
}

// rule 679
OURO_ASYNC_TEST(removing_says_whether_there_was_something_to_remove) {
    auto [near, far] = co_await socket::pair(loop::current());
    BOOST_TEST(!remove_reader(near.fd()));
    BOOST_TEST(!remove_writer(near.fd()));
    co_await add_reader(near.fd(), [] {});
    BOOST_TEST(!remove_writer(near.fd()));
    BOOST_TEST(remove_reader(near.fd()));
    BOOST_TEST(!remove_reader(near.fd()));
    co_await add_writer(near.fd(), [] {});
    BOOST_TEST(remove_writer(near.fd()));
    BOOST_TEST(!remove_writer(near.fd()));
    for (const int none : {-1, 12345, 1 << 30}) {
        BOOST_TEST(!remove_reader(none));
        BOOST_TEST(!remove_writer(none));
    }
    BOOST_TEST(loop::current().counters().resources == 0U);
}

// rule 680
OURO_ASYNC_TEST(who_is_removed_is_not_called_though_it_was_found_ready_in_the_same_turn) {
    for (int round = 0; round < 10; ++round) {
        auto [one, one_far] = co_await socket::pair(loop::current());
        auto [other, other_far] = co_await socket::pair(loop::current());
        send_now(one_far, "x");
        send_now(other_far, "x");
        const reader_until_here end{one.fd()}, other_end{other.fd()};
        auto called = std::make_shared<std::pair<int, int>>();
        co_await add_reader(one.fd(), [called, remove = other.fd()] {
            ++called->first;
            remove_reader(remove);
        });
        co_await add_reader(other.fd(), [called, remove = one.fd()] {
            ++called->second;
            remove_reader(remove);
        });
        co_await eventually([called] { return called->first + called->second > 3; });
        BOOST_TEST((called->first == 0) != (called->second == 0));
    }
}

OURO_ASYNC_TEST(a_reader_may_remove_and_replace_itself_while_it_is_called) {
    auto [near, far] = co_await socket::pair(loop::current());
    send_now(far, "x");
    const int fd = near.fd();
    const reader_until_here end{fd};
    auto story = std::make_shared<std::string>();
    co_await add_reader(fd, [story, fd] {
        const auto kept = story;  // this callable may be gone after the next line
        BOOST_TEST(add_reader(fd, [story, fd] {
                       const auto still_kept = story;
                       BOOST_TEST(remove_reader(fd));
                       BOOST_TEST(!remove_reader(fd));
                       *still_kept += "second ";
                   }).has_value());
        *kept += "first ";
    });
    co_await eventually([story] { return story->ends_with("second "); });
    co_await settle(5);
    BOOST_TEST(*story == "first second ");
}

OURO_ASYNC_TEST(what_a_reader_throws_is_reported_and_it_stays) {
    auto [near, far] = co_await socket::pair(loop::current());
    send_now(far, "x");
    const reader_until_here end{near.fd()};
    auto called = std::make_shared<int>(0);
    co_await add_reader(near.fd(), [called] {
        if (++*called == 1) throw std::runtime_error("once");
    });
    co_await eventually([called] { return *called > 2; });
    const auto reports = take_reports();
    BOOST_REQUIRE_EQUAL(reports.size(), 1U);
    BOOST_TEST(reports.at(0).describe().find("once") != std::string::npos);
    BOOST_TEST(reports.at(0).subject.find("readable") != std::string::npos);
}

OURO_ASYNC_TEST(a_reader_runs_with_the_values_of_who_added_it) {
    auto [near, far] = co_await socket::pair(loop::current());
    const reader_until_here end{near.fd()};
    auto seen = std::make_shared<int>(0);
    {
        const auto held = request.bind(7);
        co_await add_reader(near.fd(), [seen] { *seen = request.get(); });
    }
    send_now(far, "x");
    co_await eventually([seen] { return *seen != 0; });
    BOOST_TEST(*seen == 7);
    BOOST_TEST(request.get() == 0);
}

// rules 684, 742
// faults 14, 15
OURO_ASYNC_TEST(a_descriptor_is_closed_right_after_the_removal_and_its_number_used_again) {
    bool used_again = false;
    for (int round = 0; round < 30; ++round) {
        auto [near, far] = co_await socket::pair(loop::current());
        const int fd = near.fd();
        auto stale = std::make_shared<int>(0);
        {
            const reader_until_here end{fd};
            co_await add_reader(fd, [stale] { ++*stale; });
            co_await settle(round % 3);
        }
        if (round % 2) send_now(far, "too late");
        near.close();
        auto [again, again_far] = co_await socket::pair(loop::current());
        used_again |= again.fd() == fd;
        calls reading;
        reading.read(again.fd());
        std::array<std::byte, 16> room;
        const auto met = co_await as_result(far.recv_into(room));  // the old one is really closed
        BOOST_TEST((!met || *met == 0));
        BOOST_TEST(reading.so_far() == 0);
        send_now(again_far, "hello");
        co_await reading.come();
        BOOST_TEST(*stale == 0);
    }
    BOOST_TEST(used_again);
}

// rule 683
// fault 15
OURO_ASYNC_TEST(what_is_no_descriptor_is_refused) {
    auto [near, far] = co_await socket::pair(loop::current());
    const int closed = near.fd();
    near.close();
    for (const int fd : {-1, closed}) {
        const auto expected = fd < 0 ? make_error_code(errc::value_error)
                                     : std::make_error_code(std::errc::bad_file_descriptor);
        const std::error_condition same = expected.default_error_condition();
        BOOST_TEST((add_reader(fd, [] {}).error().code() == same));
        BOOST_TEST((add_writer(fd, [] {}).error().code() == same));
        BOOST_TEST(((co_await as_result(readable(fd))).error().code() == same));
        BOOST_TEST(((co_await as_result(writable(fd))).error().code() == same));
    }
    BOOST_TEST((add_reader(far.fd(), {}).error() == errc::value_error));
    BOOST_TEST(loop::current().counters().resources == 0U);
}

// fault 14
OURO_ASYNC_TEST(a_descriptor_that_is_closed_without_being_removed_is_reported_once) {
    auto [near, far] = co_await socket::pair(loop::current());
    const int fd = near.fd();
    const reader_until_here end{fd};
    co_await add_reader(fd, [] {});
    near.close();  // before the kernel has seen it
    co_await settle(5);
    BOOST_TEST(!remove_reader(fd));
    const auto reports = take_reports();
    BOOST_REQUIRE_EQUAL(reports.size(), 1U);
    BOOST_CHECK(reports.at(0).error == std::errc::bad_file_descriptor);
}

// rule 23
BOOST_AUTO_TEST_CASE(on_a_closed_loop_nothing_can_be_added_and_removing_is_harmless) {
    for (const engine each : {engine::uring, engine::plain_uring}) {
        loop home(options_for(each));
        const int fd = ::eventfd(0, EFD_CLOEXEC);
        auto held = std::make_shared<int>(0);
        BOOST_TEST(add_reader(home, fd, [held] {}).has_value());
        BOOST_TEST(add_writer(home, fd, [held] {}).has_value());
        home.close();
        BOOST_TEST(held.use_count() == 1);
        BOOST_TEST(!remove_reader(home, fd));
        BOOST_TEST(!remove_writer(home, fd));
        BOOST_TEST((add_reader(home, fd, [] {}).error() == errc::loop_closed));
        BOOST_TEST(home.counters().resources == 0U);
        BOOST_TEST(home.counters().ops == 0U);
        ::close(fd);
    }
}

// rule 681
BOOST_AUTO_TEST_CASE(a_reader_may_be_added_before_the_loop_runs_and_may_stop_it) {
    for (const engine each : {engine::uring, engine::plain_uring}) {
        loop home(options_for(each));
        const int fd = ::eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK);
        int called = 0;
        BOOST_TEST(add_reader(home, fd, [&] {
                       if (++called == 5) home.stop();
                   }).has_value());
        home.run_forever();
        BOOST_TEST(called == 5);
        BOOST_TEST(remove_reader(home, fd));
        ::close(fd);
    }
}

// fault 20
BOOST_AUTO_TEST_CASE(a_reader_waits_until_the_kernel_has_memory_for_it_again) {
    using testing::fault;
    const auto body = []() -> task<> {
        auto [near, far] = co_await socket::pair(loop::current());
        calls reading;
        reading.read(near.fd());
        send_now(far, "x");
        co_await reading.come(5);
    };
    testing::injection counting;
    testing::simulation world(loopback(1));
    run_with(counting.options(world.options(options_for(engine::sim))), body);
    const auto& seen = counting.seen();
    for (std::uint64_t at = 1; at <= seen.size(); ++at) {
        if (seen[at - 1] != testing::door_call::poll) continue;
        BOOST_TEST_INFO_SCOPE("call " << at);
        testing::injection failing(
            {.plan = {fault{testing::fault_kind::op_fails, at, ENOMEM, false}}});
        testing::simulation again(loopback(1));
        run_with(failing.options(again.options(options_for(engine::sim))), body);
        BOOST_TEST(failing.struck() == 1U);
    }
}

// ---- awaits

OURO_ASYNC_TEST(readable_waits_for_data_and_takes_none) {
    auto [near, far] = co_await socket::pair(loop::current());
    auto ready = std::make_shared<int>(0);
    auto first = spawn(note_when_readable(near.fd(), ready));
    auto second = spawn(note_when_readable(near.fd(), ready));
    co_await settle();
    BOOST_TEST(*ready == 0);
    send_now(far, "hello");
    co_await first;
    co_await second;
    BOOST_TEST(readable_bytes(near) == 5U);
    co_await readable(near.fd());
    co_await drain(near);
    end_now(far);
    co_await readable(near.fd());
}

OURO_ASYNC_TEST(writable_waits_for_room) {
    auto [near, far] = co_await socket::pair(loop::current());
    co_await writable(near.fd());
    fill_now(near);
    auto ready = std::make_shared<int>(0);
    auto waiting = spawn(note_when_writable(near.fd(), ready));
    co_await settle();
    BOOST_TEST(*ready == 0);
    co_await drain(far);
    co_await waiting;
}

// fault 11
OURO_ASYNC_TEST(a_cancelled_wait_leaves_the_descriptor_alone) {
    auto [near, far] = co_await socket::pair(loop::current());
    auto ready = std::make_shared<int>(0);
    for (const int turns : {0, 1, 4}) {
        auto waiting = spawn(note_when_readable(near.fd(), ready));
        auto other = spawn(note_when_readable(near.fd(), ready));
        co_await settle(turns);
        waiting.cancel();
        const auto ended = co_await as_result(waiting.join());
        BOOST_REQUIRE(!ended.has_value());
        BOOST_CHECK(ended.error() == errc::cancelled);
        send_now(far, "x");
        co_await other;
        co_await drain(near);
    }
    BOOST_TEST(*ready == 3);
}

// The kernel tells a poll of the peer's half-close, whatever it asks for.
OURO_ASYNC_TEST(a_half_closed_peer_makes_a_full_socket_neither_writable_nor_the_loop_spin) {
    auto [near, far] = co_await socket::pair(loop::current());
    fill_now(near);
    end_now(far);
    calls writing;
    writing.write(near.fd());
    auto ready = std::make_shared<int>(0);
    auto waiting = spawn(note_when_writable(near.fd(), ready));
    const auto before = loop::current().statistics().turns;
    co_await sleep(30ms);
    BOOST_TEST(loop::current().statistics().turns - before < 200U);
    BOOST_TEST(writing.so_far() == 0);
    BOOST_TEST(*ready == 0);
    co_await drain(far);
    co_await writing.come();
    co_await waiting;
}

// ---- in all orders

// rules 677-681, 684
// faults 11, 15
OURO_ASYNC_TEST(adding_removing_sending_and_closing_in_any_order_calls_only_who_is_ready) {
    struct place {
        socket near, far;
        int number = 0;         // of the reader that is there
        bool has_data = false;  // ever since it is there
    };
    auto places = std::make_shared<std::array<place, 4>>();
    auto wrong = std::make_shared<int>(0);
    const auto take_out = [](place& at) {
        if (at.number) BOOST_TEST(remove_reader(at.near.fd()));
        at.number = 0;
    };
    struct clean_up {
        std::array<place, 4>& all;
        ~clean_up() {
            for (place& each : all) remove_reader(each.near.fd());
        }
    } const at_the_end{*places};
    std::uint64_t chance = 42;
    int numbers = 0;
    for (int step = 0; step < 600; ++step) {
        chance = chance * 6364136223846793005U + 1442695040888963407U;
        place& at = (*places)[(chance >> 40) % 4];
        const auto what = (chance >> 50) % 5;
        if (!at.near) {
            auto [near, far] = co_await socket::pair(loop::current());
            at = {std::move(near), std::move(far)};
        }
        if (what == 0) {
            at.number = ++numbers;
            const auto index = static_cast<std::size_t>(&at - places->data());
            co_await add_reader(at.near.fd(), [places, wrong, index, number = at.number] {
                const place& here = (*places)[index];
                if (here.number != number || !here.has_data) ++*wrong;
            });
        } else if (what == 1) {
            take_out(at);
        } else if (what == 2) {
            send_now(at.far, "x");
            at.has_data = true;
        } else if (what == 3) {
            take_out(at);
            at = {};  // closes both, and the next one gets the numbers
        } else {
            co_await settle(static_cast<int>(chance >> 60) % 3);
        }
    }
    for (place& each : *places) take_out(each);
    BOOST_TEST(*wrong == 0);
}

// ---- descriptors that are no sockets

OURO_KERNEL_TEST(pipes_and_eventfds_can_be_watched, "a simulation has sockets only") {
    int ends[2];
    BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    const int counter = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    {
        calls reading, counting;
        reading.read(ends[0]);
        counting.read(counter);
        co_await writable(ends[1]);
        BOOST_TEST(co_await reading.stay_away());
        BOOST_TEST(::write(ends[1], "x", 1) == 1);
        co_await reading.come();
        char taken = 0;
        BOOST_TEST(::read(ends[0], &taken, 1) == 1);
        BOOST_TEST(co_await reading.stay_away());
        ::close(ends[1]);
        co_await reading.come();  // nobody is left to write
        BOOST_TEST(counting.so_far() == 0);
        const std::uint64_t one = 1;
        BOOST_TEST(::write(counter, &one, sizeof one) == static_cast<ssize_t>(sizeof one));
        co_await counting.come();
    }
    ::close(ends[0]);
    ::close(counter);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
