// The entry point of every test binary. --list-kernel-tests names the tests that need the real
// kernel, and why; `torture` runs the tests while things go wrong.
#include <sys/resource.h>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <string_view>

#include "registry.hpp"
#include "torture.hpp"

namespace {

/// Whoever starts the tests may ignore signals, as nohup(1) and jobs in the background of a shell
/// do, or have blocked some; both would be inherited by every child of a test.
void take_signals_as_usual() {
    for (const int signum : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGCHLD}) {
        std::signal(signum, SIG_DFL);
    }
    sigset_t none;
    ::sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

/// Many systems allow 1024 descriptors unless more are asked for.
void ask_for_descriptors() {
    constexpr rlim_t wanted = 8192;
    rlimit allowed{};
    ::getrlimit(RLIMIT_NOFILE, &allowed);
    if (allowed.rlim_cur >= wanted) return;
    allowed.rlim_cur = std::min(wanted, allowed.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &allowed);
}

}  // namespace

int main(int argc, char** argv) {
    take_signals_as_usual();
    ask_for_descriptors();
    if (argc == 2 && std::string_view(argv[1]) == "--list-kernel-tests") {
        ouro::test::print_kernel_tests(std::cout);
        return 0;
    }
    if (argc > 1 && std::string_view(argv[1]) == "torture") {
        char** const rest = argv + 1;
        rest[0] = argv[0];
        return ouro::test::torture({rest, static_cast<std::size_t>(argc - 1)});
    }
    return boost::unit_test::unit_test_main([] { return true; }, argc, argv);
}
