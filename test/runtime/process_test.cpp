// The process around a loop: forks, exec, limits, filters, closed standard descriptors, exit.
#include <ouro/runtime/loop.hpp>

#include <boost/test/unit_test.hpp>
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <thread>

#include <ouro/runtime/checks.hpp>
#include <ouro/runtime/run_threadsafe.hpp>
#include <ouro/runtime/timeout.hpp>

#include "async_test.hpp"
#include "child_process.hpp"
#include "noted_op.hpp"

namespace ouro::test {
namespace {

task<int> give_later(int value) {
    co_await yield();
    co_return value;
}

std::set<int> open_descriptors() {
    std::set<int> all;
    DIR* const folder = ::opendir("/proc/self/fd");
    while (const dirent* each = ::readdir(folder)) {
        const int fd = std::atoi(each->d_name);
        if (each->d_name[0] != '.' && fd != ::dirfd(folder)) all.insert(fd);
    }
    ::closedir(folder);
    return all;
}

/// Makes `number` fail with `failure` from now on, for this process.
void forbid(long number, int failure) {
    sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(failure)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog program{.len = std::size(steps), .filter = steps};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        throw std::system_error(errno, std::system_category(), "seccomp");
    }
}

/// Tries to make a loop; the text of the refusal goes to stderr.
int try_to_make_a_loop() {
    try {
        loop made(options_for(engine::uring));
        return made.run_until_complete(give_later(0)).value();
    } catch (const std::system_error& thrown) {
        std::fprintf(stderr, "%s\n", thrown.what());
        return 50;
    }
}

int run_something(engine which) {
    loop made(options_for(which));
    return made.run_until_complete(give_later(7)).value() == 7 ? 0 : 1;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(processes)

// rule 26, fault 77
BOOST_AUTO_TEST_CASE(a_forked_child_has_no_running_loop_and_can_run_one_of_its_own) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        loop home(options_for(which));
        child_outcome child;
        home.call_soon([&] {
            child = in_child([which] {
                if (loop::try_current()) return 2;
                return run_something(which);
            });
            BOOST_TEST(loop::try_current() == &home);
            home.stop();
        });
        home.run_forever();
        BOOST_TEST(child.exit_code == 0);
        BOOST_TEST(home.run_until_complete(give_later(3)).value() == 3);
    }
}

// fault 77
BOOST_AUTO_TEST_CASE(
    a_child_that_uses_the_loop_of_its_parent_fails_clearly_and_the_parent_goes_on) {
    loop home(options_for(engine::uring));
    loopless_descriptors fds;
    noted_op receive;
    std::array<std::byte, 8> room;
    io::recv(home, receive, fds.ours, room);
    home.stop();
    home.run_forever();
    const auto child = in_child([&] {
        try {
            home.run_forever();
        } catch (const std::system_error& thrown) {
            std::fprintf(stderr, "%s\n", thrown.what());
            return 50;
        }
        return 1;
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 50);
    BOOST_TEST(contains(child.errors, "fork"));
    fds.peer_sends("abc");
    BOOST_TEST(home.run_until_complete(receive.end()).value() == 3);
}

// fault 77
BOOST_AUTO_TEST_CASE(a_child_destroys_its_copy_of_a_loop_without_touching_the_parent) {
    auto home = std::make_unique<loop>(options_for(engine::uring));
    loopless_descriptors fds;
    noted_op receive;
    std::array<std::byte, 8> room;
    auto sleeps = []() -> task<> { co_await sleep(std::chrono::hours(1)); };
    auto sleeping = spawn(*home, sleeps());
    io::recv(*home, receive, fds.ours, room);
    home->stop();
    home->run_forever();
    const auto child = in_child([&] {
        home.reset();
        return 0;
    });
    BOOST_TEST(child.exit_code == 0);
    BOOST_TEST(child.errors.empty());
    BOOST_TEST(!sleeping.done());
    fds.peer_sends("ab");
    BOOST_TEST(home->run_until_complete(receive.end()).value() == 2);
}

// fault 77
BOOST_AUTO_TEST_CASE(a_post_in_a_forked_child_does_not_reach_the_parent) {
    loop home(options_for(engine::uring));
    int posts = 0;
    const auto handle = home.get_handle();
    const auto child = in_child([&] {
        handle.post([&] { ++posts; });
        return 0;
    });
    BOOST_TEST(child.signal == 0);
    home.stop();
    home.run_forever();
    BOOST_TEST(posts == 0);
}

// fault 69
BOOST_AUTO_TEST_CASE(exit_with_a_live_loop_that_does_not_run_is_no_crash) {
    const auto child = in_child([]() -> int {
        static loopless_descriptors fds;
        static noted_op receive;
        static std::array<std::byte, 8> room;
        static loop home(options_for(engine::uring));
        io::recv(home, receive, fds.ours, room);
        spawn(home, []() -> task<> { co_await sleep(std::chrono::hours(1)); }());
        home.call_later(std::chrono::hours(1), [] {});
        home.stop();
        home.run_forever();
        std::exit(0);
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 0);
}

// fault 69
BOOST_AUTO_TEST_CASE(exit_from_inside_a_running_loop_is_no_crash) {
    const auto child = in_child([]() -> int {
        static loop home(options_for(engine::uring));
        home.call_soon([] { std::exit(0); });
        home.run_forever();
        return 1;
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 0);
}

// fault 78
BOOST_AUTO_TEST_CASE(every_descriptor_of_a_loop_closes_on_exec) {
    const auto before = open_descriptors();
    loop home(options_for(engine::uring));
    BOOST_TEST(home.run_until_complete(give_later(1)).value() == 1);
    int made = 0;
    for (const int fd : open_descriptors()) {
        if (before.contains(fd)) continue;
        ++made;
        BOOST_TEST((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
    BOOST_TEST(made >= 1);
}

// fault 71
BOOST_AUTO_TEST_CASE(a_forbidden_io_uring_is_refused_with_the_cause_and_the_remedy) {
    const auto forbidden = in_child([] {
        forbid(__NR_io_uring_setup, EPERM);
        return try_to_make_a_loop();
    });
    BOOST_TEST(forbidden.exit_code == 50);
    BOOST_TEST(contains(forbidden.errors, "seccomp"));
    BOOST_TEST(contains(forbidden.errors, "io_uring_setup"));
    BOOST_TEST(contains(forbidden.errors, "Operation not permitted"));

    const auto hidden = in_child([] {
        forbid(__NR_io_uring_setup, ENOSYS);
        return try_to_make_a_loop();
    });
    BOOST_TEST(hidden.exit_code == 50);
    BOOST_TEST(contains(hidden.errors, "or newer"));
    BOOST_TEST(contains(hidden.errors, "not implemented"));
}

// faults 71, 72
BOOST_AUTO_TEST_CASE(a_filter_that_forbids_only_the_other_calls_is_refused_clearly_too) {
    for (const long number : {__NR_io_uring_register, __NR_io_uring_enter}) {
        const auto child = in_child([number] {
            forbid(number, EPERM);
            return try_to_make_a_loop();
        });
        BOOST_TEST(child.signal == 0);
        BOOST_TEST(child.exit_code == 50);
        BOOST_TEST(contains(child.errors, "seccomp"));
    }
}

// A sanitizer needs descriptors of its own to look at an exception.
// faults 17, 74
BOOST_AUTO_TEST_CASE(a_loop_without_descriptors_left_is_refused_with_the_remedy_and_leaks_none,
                     *boost::unit_test::enable_if<!detail::memory_is_watched>()) {
    const auto child = in_child([] {
        const auto before = open_descriptors();
        const rlim_t first_free = static_cast<rlim_t>(*before.rbegin()) + 1;
        // Fill the gaps, so that the limit counts what is made from here on.
        while (static_cast<rlim_t>(::open("/dev/null", O_RDONLY | O_CLOEXEC)) < first_free)
            continue;
        const auto filled = open_descriptors();
        int refused = 0;
        for (rlim_t room = 1; room < 8; ++room) {
            const rlimit limit{first_free + room, first_free + 100};
            ::setrlimit(RLIMIT_NOFILE, &limit);
            try {
                loop made(options_for(engine::uring));
                if (made.run_until_complete(give_later(3)).value() != 3) return 3;
            } catch (const std::system_error& thrown) {
                ++refused;
                std::fprintf(stderr, "%s\n", thrown.what());
                if (thrown.code() != std::errc::too_many_files_open) return 4;
                if (!contains(thrown.what(), "ulimit -n")) return 5;
            }
            const rlimit wide{first_free + 100, first_free + 100};
            ::setrlimit(RLIMIT_NOFILE, &wide);
            if (open_descriptors() != filled) return 6;
        }
        return refused ? 0 : 7;
    });
    BOOST_CHECK_MESSAGE(child.exit_code == 0, "code " << child.exit_code << ": " << child.errors);
}

// faults 17, 74
BOOST_AUTO_TEST_CASE(an_accept_without_descriptors_left_fails_and_works_again_later) {
    const auto child = in_child([] {
        loop home(options_for(engine::uring));
        auto main = [&]() -> task<int> {
            auto listener = co_await socket::open(home, AF_INET);
            co_await listener.bind(co_await address::parse("127.0.0.1:0"));
            co_await listener.listen();
            auto client = co_await socket::open(home, AF_INET);
            co_await client.connect(co_await listener.local_address());
            rlimit wide{};
            ::getrlimit(RLIMIT_NOFILE, &wide);
            const rlimit none{0, wide.rlim_max};
            ::setrlimit(RLIMIT_NOFILE, &none);
            const auto refused = co_await as_result(listener.accept());
            const auto unmade = socket::open(home, AF_INET);
            ::setrlimit(RLIMIT_NOFILE, &wide);
            if (refused || refused.error() != std::errc::too_many_files_open) co_return 1;
            if (unmade || unmade.error() != std::errc::too_many_files_open) co_return 2;
            auto server = co_await listener.accept();
            co_await client.send(as_bytes("x"));
            std::array<std::byte, 4> room;
            co_return co_await server.recv_into(room) == 1 ? 0 : 3;
        };
        return home.run_until_complete(main()).value_or(4);
    });
    BOOST_CHECK_MESSAGE(child.exit_code == 0, "code " << child.exit_code << ": " << child.errors);
}

// fault 19
BOOST_AUTO_TEST_CASE(little_locked_memory_gives_a_smaller_ring_or_an_error_that_names_the_limit) {
    const auto with_locked_bytes = [](rlim_t bytes) {
        return in_child([bytes] {
            const rlimit limit{bytes, bytes};
            ::setrlimit(RLIMIT_MEMLOCK, &limit);
            // An ordinary user, as root's rings are not counted, and one that has no others.
            const uid_t user = 60'000 + static_cast<uid_t>(::getppid()) % 5000;
            if (::geteuid() == 0 && ::setresuid(user, user, user) != 0) return 60;
            return try_to_make_a_loop();
        });
    };
    const auto nothing = with_locked_bytes(0);
    BOOST_TEST((nothing.exit_code == 50 || nothing.exit_code == 0));
    if (nothing.exit_code == 50) BOOST_TEST(contains(nothing.errors, "ulimit -l"));
    // What an ordinary user has in other processes counts as well, and for a moment what it had.
    auto little = with_locked_bytes(1024 * 1024);
    for (int tries = 0; little.exit_code == 50 && tries < 200; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        little = with_locked_bytes(1024 * 1024);
    }
    BOOST_TEST(little.exit_code == 0);
}

// fault 83
BOOST_AUTO_TEST_CASE(a_process_without_standard_descriptors_works) {
    const auto child = in_child([] {
        for (int fd = 0; fd < 3; ++fd) ::close(fd);
        loop home(options_for(engine::uring));
        auto main = [&]() -> task<int> {
            auto [one, other] = co_await socket::pair(home);
            // The default handler writes this on stderr, which must not be one of the sockets.
            home.call_soon([] { throw std::runtime_error("a report nobody can read"); });
            co_await settle();
            co_await one.send(as_bytes("clean"));
            co_await other.send(as_bytes("clean"));
            std::array<std::byte, 256> room;
            const std::size_t there = co_await other.recv_into(room);
            if (as_text(bytes(room).first(there)) != "clean") co_return 1;
            const std::size_t back = co_await one.recv_into(room);
            if (as_text(bytes(room).first(back)) != "clean") co_return 2;
            co_return 0;
        };
        return home.run_until_complete(main()).value_or(3);
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 0);
}

// faults 25, 26
BOOST_AUTO_TEST_CASE(a_loop_made_in_one_thread_may_run_in_another_and_die_in_the_first) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        const auto child = in_child([which] {
            bool ran = false;
            {
                loop home(options_for(which));
                std::thread runner(
                    [&] { ran = home.run_until_complete(give_later(5)).value() == 5; });
                runner.join();
            }
            return ran ? 0 : 1;
        });
        BOOST_CHECK_MESSAGE(child.exit_code == 0, child.signal << ' ' << child.errors);
    }
}

// fault 26
BOOST_AUTO_TEST_CASE(a_loop_that_ran_in_one_thread_runs_in_another_or_says_why_not) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        const auto child = in_child([which] {
            loop home(options_for(which));
            std::thread([&] { (void)home.run_until_complete(give_later(5)); }).join();
            try {
                return home.run_until_complete(give_later(6)).value_or(6) == 6 ? 0 : 1;
            } catch (const std::system_error& thrown) {
                return thrown.code() == errc::wrong_thread ? 0 : 2;
            }
        });
        BOOST_CHECK_MESSAGE(child.exit_code == 0, child.signal << ' ' << child.errors);
    }
}

// fault 25
BOOST_AUTO_TEST_CASE(a_loop_closed_by_another_thread_ends_its_operations_or_gives_their_memory_up) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        const auto child = in_child([which] {
            static loopless_descriptors fds;
            static std::array<std::byte, 8> room;
            auto* const receive = new noted_op;  // the kernel may keep it for ever
            {
                loop home(options_for(which));
                std::thread([&] {
                    io::recv(home, *receive, fds.ours, room);
                    home.stop();
                    home.run_forever();
                }).join();
            }
            return receive->terminals == 1 ? 0 : 50;
        });
        BOOST_TEST(child.signal == 0);
        BOOST_TEST((child.exit_code == 0 || contains(child.errors, "given up")));
    }
}

// fault 25
BOOST_AUTO_TEST_CASE(whoever_waits_for_a_task_whose_loop_gave_up_is_told) {
    const auto child = in_child([] {
        static loopless_descriptors fds;
        static std::array<std::byte, 8> room;
        auto* const receive = new noted_op;  // the kernel may keep it for ever
        std::optional<thread_future<void>> waited;
        {
            loop home(options_for(engine::uring));
            waited = run_threadsafe(home.get_handle(), []() -> task<> {
                const timeout limit(std::chrono::hours(1));  // its timer stays with the frame
                co_await sleep(std::chrono::hours(2));
            });
            std::thread([&] {
                io::recv(home, *receive, fds.ours, room);
                home.call_later(std::chrono::milliseconds(20), [] { loop::current().stop(); });
                home.run_forever();
            }).join();
        }
        return waited->get().error() == errc::cancelled ? 0 : 50;
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 0);
    BOOST_TEST(contains(child.errors, "given up"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
