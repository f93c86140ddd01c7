// Programs that are run and waited for, one after the other: by ouro, and by posix_spawn and
// waitpid.
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <ouro/ouro.hpp>

namespace {

using clock_type = std::chrono::steady_clock;

struct settings {
    std::string how = "ouro";
    int count = 500;
    std::size_t ballast_mib = 0;
};

/// Processor seconds of this process, without those of its children.
double own_cpu() {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "spawn_bench: %s\n", what);
    std::exit(1);
}

ouro::task<> by_ouro(int count) {
    for (int i = 0; i < count; ++i) {
        auto child = co_await ouro::create_subprocess_exec({"/bin/true"});
        if (co_await child.wait() != 0) fail("a child failed");
    }
}

ouro::task<> by_ouro_with_output(int count) {
    for (int i = 0; i < count; ++i) {
        auto child =
            co_await ouro::create_subprocess_exec({"/bin/true"}, {.out = ouro::stdio::pipe});
        const auto all = co_await child.communicate();
        if (!all.out->empty() || child.return_code() != 0) fail("a child failed");
    }
}

void by_posix_spawn(int count) {
    char name[] = "/bin/true";
    char* arguments[] = {name, nullptr};
    for (int i = 0; i < count; ++i) {
        pid_t pid = 0;
        if (::posix_spawn(&pid, name, nullptr, nullptr, arguments, ::environ) != 0) {
            fail("posix_spawn");
        }
        int status = 0;
        if (::waitpid(pid, &status, 0) != pid || status != 0) fail("a child failed");
    }
}

}  // namespace

int main(int argc, char** argv) {
    settings chosen;
    CLI::App app("Runs /bin/true and waits for it, again and again.");
    app.add_option("--how", chosen.how, "ouro, ouro_pipe or posix_spawn");
    app.add_option("--count", chosen.count, "how often");
    app.add_option("--ballast-mib", chosen.ballast_mib, "memory that this process has touched");
    CLI11_PARSE(app, argc, argv);

    const std::vector<char> ballast(chosen.ballast_mib << 20, 1);
    const auto run = [&](int count) {
        if (chosen.how == "posix_spawn") return by_posix_spawn(count);
        if (chosen.how != "ouro" && chosen.how != "ouro_pipe") fail("unknown --how");
        ouro::loop home;
        auto ran = home.run_until_complete(chosen.how == "ouro" ? by_ouro(count)
                                                                : by_ouro_with_output(count));
        if (!ran) fail(ran.error().describe().c_str());
    };
    run(20);
    const double cpu_before = own_cpu();
    const auto began = clock_type::now();
    run(chosen.count);
    const std::chrono::duration<double> took = clock_type::now() - began;
    std::printf("%s %.1f %.2f\n", chosen.how.c_str(), chosen.count / took.count(),
                (own_cpu() - cpu_before) / chosen.count * 1e6);
    return ballast.empty() || ballast.back() == 1 ? 0 : 1;
}
