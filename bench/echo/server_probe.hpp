// What the kernel tells about another process: the CPU time it used and the memory it holds.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <system_error>

namespace bench {

inline std::uint64_t clock_ns(clockid_t clock) noexcept {
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(time.tv_nsec);
}

class server_probe {
  public:
    /// `pid` 0 means no server to look at: every answer is then 0.
    explicit server_probe(pid_t pid) : pid_(pid) {
        if (pid_ == 0) return;
        if (const int error = clock_getcpuclockid(pid_, &clock_); error != 0)
            throw std::system_error(error, std::generic_category(), "--pid");
    }

    bool is_attached() const noexcept { return pid_ != 0; }

    /// User and system time of all threads, kernel workers of io_uring included.
    std::uint64_t cpu_ns() const noexcept { return pid_ == 0 ? 0 : clock_ns(clock_); }

    struct memory {
        long rss_bytes = 0;
        long pss_bytes = 0;
        long private_bytes = 0;  // anonymous memory: heap, stacks, pools
    };

    memory read_memory() const {
        memory found;
        if (pid_ == 0) return found;
        const std::string path = "/proc/" + std::to_string(pid_) + "/smaps_rollup";
        std::FILE* const file = std::fopen(path.c_str(), "re");
        if (file == nullptr) throw std::system_error(errno, std::generic_category(), path);
        char line[256];
        long kib = 0;
        while (std::fgets(line, sizeof line, file) != nullptr) {
            if (std::sscanf(line, "Rss: %ld", &kib) == 1) found.rss_bytes = kib * 1024;
            if (std::sscanf(line, "Pss: %ld", &kib) == 1) found.pss_bytes = kib * 1024;
            if (std::sscanf(line, "Anonymous: %ld", &kib) == 1) found.private_bytes = kib * 1024;
        }
        std::fclose(file);
        return found;
    }

  private:
    pid_t pid_;
    clockid_t clock_ = 0;
};

}  // namespace bench
