// Making a ring: the best flags this kernel takes, smaller when memory is short, and an error a
// person can act on.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>

#include <ouro/runtime/assert.hpp>

#include "kernel_abi.hpp"
#include "ring.hpp"

namespace ouro::uring {
namespace {

// From the best to the plainest. DEFER_TASKRUN is the biggest single win (15 % CPU per echo on
// TCP); SUBMIT_ALL keeps one bad entry from holding up the rest; R_DISABLED lets the thread that
// runs the loop become the ring's only issuer.
constexpr unsigned common_flags =
    IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED;
constexpr unsigned ladder[] = {
    common_flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,  // 6.1
    common_flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,  // 6.0
    common_flags | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
        IORING_SETUP_SUBMIT_ALL,             // 5.19
    common_flags | IORING_SETUP_SUBMIT_ALL,  // 5.18
    common_flags,                            // 5.10
};
constexpr unsigned smallest_ring = 8;

std::string first_line(const char* path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

std::string locked_memory_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "";
    return " (" + std::to_string(limit.rlim_cur / 1024) + " KiB)";
}

/// What most likely stands behind `failure` of io_uring_setup, and what to do about it.
std::string diagnosis(int failure) {
    const std::string disabled = first_line("/proc/sys/kernel/io_uring_disabled");
    switch (failure) {
    case EPERM:
        if (disabled == "1" || disabled == "2") {
            return "kernel.io_uring_disabled is " + disabled +
                   "; allow it with: sysctl kernel.io_uring_disabled=0";
        }
        return "a seccomp filter forbids io_uring, as containers do by default; run the container "
               "with a profile "
               "that allows io_uring_setup, io_uring_enter and io_uring_register";
    case ENOSYS:
        return "this kernel has no io_uring (Linux 6.0 or newer is needed), or a seccomp filter "
               "hides it";
    case EACCES:
        return "a security module (SELinux, AppArmor) forbids io_uring to this program; allow it "
               "in its policy";
    case ENOMEM:
        return "the limit of locked memory" + locked_memory_limit() +
               " is too low; raise it (ulimit -l) or ask for a smaller ring";
    case EMFILE:
    case ENFILE:
        return "no file descriptor is left; raise the limit (ulimit -n)";
    default:
        return "Linux 6.0 or newer is needed";
    }
}

/// What is written on stderr must not end up in a connection that got number 2: missing standard
/// descriptors are filled.
void keep_standard_descriptors() noexcept {
    for (int fd = 0; fd < 3; ++fd) {
        if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != fd) return;
    }
}

/// Refuses sizes that no kernel takes, before they look like a kernel that is too old.
void check(const loop_options& options) {
    const auto require = [](bool holds, const char* what) {
        if (!holds) throw std::system_error(make_error_code(errc::value_error), what);
    };
    const unsigned count = options.ring_buffer_count;
    require(options.sq_entries != 0, "loop_options::sq_entries must not be 0");
    require(count != 0 && (count & (count - 1)) == 0 && count <= 32768,
            "loop_options::ring_buffer_count must be a power of two, 32768 at most");
    require(options.ring_buffer_bytes >= 512 && options.ring_buffer_bytes <= (1U << 30),
            "loop_options::ring_buffer_bytes must be between 512 bytes and 1 GiB");
}

bool wanted(const loop_options& options, unsigned flags) {
    const bool defers = flags & IORING_SETUP_DEFER_TASKRUN;
    const bool single = flags & IORING_SETUP_SINGLE_ISSUER;
    return !(defers && (options.disabled_features & feature_defer_taskrun)) &&
           !(single && (options.disabled_features & feature_single_issuer));
}

int set_up(const loop_options& options, unsigned entries, io_uring& made, io_uring_params& params) {
    int failure = -EINVAL;
    for (const unsigned flags : ladder) {
        if (!wanted(options, flags)) continue;
        params = {};
        params.flags = flags;
        // It shrinks with the ring: at 16 bytes an entry it is most of the memory that is locked.
        const auto completions =
            static_cast<unsigned>(std::uint64_t{options.cq_entries} * entries / options.sq_entries);
        params.cq_entries = completions < entries ? entries * 2 : completions;
        failure = io_uring_queue_init_params(entries, &made, &params);
        if (failure != -EINVAL) break;
    }
    return failure;
}

}  // namespace

void refuse(int failure, const char* call) {
    throw std::system_error(failure, std::system_category(),
                            std::string(call) + " failed: " + diagnosis(failure));
}

ring::ring(const loop_options& options) : owner_pid_(::getpid()) {
    check(options);
    keep_standard_descriptors();
    io_uring_params params{};
    unsigned entries = options.sq_entries;
    int outcome = set_up(options, entries, uring_, params);
    while (outcome == -ENOMEM && entries > smallest_ring) {
        entries /= 2;
        outcome = set_up(options, entries, uring_, params);
    }
    if (outcome < 0) refuse(-outcome, "io_uring_setup");
    // A filter may forbid this call alone. On a ring that is not enabled it does nothing.
    if (::syscall(__NR_io_uring_enter, uring_.ring_fd, 0, 0, 0, nullptr, 0) < 0 &&
        (errno == EPERM || errno == ENOSYS)) {
        const int failure = errno;
        io_uring_queue_exit(&uring_);
        refuse(failure, "io_uring_enter");
    }
    setup_flags_ = params.flags;
    entry_count_ = *uring_.sq.kring_entries;
    io_uring_ring_dontfork(&uring_);
    if (uring_.sq.array) {  // entries are used in order, so the indirection is filled once
        for (unsigned i = 0; i < *uring_.sq.kring_entries; ++i) uring_.sq.array[i] = i;
    }
    const unsigned off = options.disabled_features;
    features_.defer_taskrun = setup_flags_ & IORING_SETUP_DEFER_TASKRUN;
    features_.single_issuer = setup_flags_ & IORING_SETUP_SINGLE_ISSUER;
    features_.taskrun_flag = setup_flags_ & IORING_SETUP_TASKRUN_FLAG;
    features_.registered_fd = !(off & feature_register_ring_fd);
    features_.absolute_timer = params.features & abi::feat_min_timeout;
    features_.no_iowait = (params.features & abi::feat_no_iowait) && !(off & feature_no_iowait);
    features_.incremental_buffers = !(off & feature_incremental_buffers);
    features_.fast_send = (params.features & IORING_FEAT_CQE_SKIP) && !(off & feature_fast_send);
    // Before 6.3 a message to a ring with deferred task work could go unseen; no flag tells of that
    // version, so the next younger one that has a flag is asked for.
    features_.messages =
        (params.features & abi::feat_min_timeout) && !(off & feature_ring_messages);
    features_.multishot_read = !(off & feature_multishot_read);
    enter_fd_ = uring_.ring_fd;
    if (features_.no_iowait) enter_flags_ |= abi::enter_no_iowait;
    if (features_.absolute_timer) enter_flags_ |= abi::enter_abs_timer;
}

ring::~ring() {
    if (foreign_process()) {
        ::close(uring_.ring_fd);  // the mappings were not inherited
        return;
    }
    io_uring_queue_exit(&uring_);
}

bool ring::foreign_process() const noexcept { return ::getpid() != owner_pid_; }

/// Makes the calling thread the ring's issuer.
int ring::enable() noexcept {
    if (enabled_) return 0;
    const int outcome =
        register_call(IORING_REGISTER_ENABLE_RINGS, nullptr, 0);  // no call for it in 2.3
    if (outcome < 0) return outcome;
    enabled_ = true;
    issuer_ = std::this_thread::get_id();
    if (features_.registered_fd && io_uring_register_ring_fd(&uring_) == 1) {
        enter_fd_ = uring_.enter_ring_fd;
        enter_flags_ |= IORING_ENTER_REGISTERED_RING;
    } else {
        features_.registered_fd = false;
    }
    return 0;
}

int ring::register_call(unsigned opcode, const void* argument, unsigned count) noexcept {
    const long outcome = ::syscall(__NR_io_uring_register, uring_.ring_fd, opcode, argument, count);
    return outcome < 0 ? -errno : static_cast<int>(outcome);
}

std::string ring::report() const {
    std::string text = "io_uring, " + std::to_string(*uring_.sq.kring_entries) + " + " +
                       std::to_string(*uring_.cq.kring_entries) + " entries";
    const auto add = [&](bool has, const char* name) {
        if (has) text += std::string(", ") + name;
    };
    add(features_.defer_taskrun, "deferred task work");
    add(features_.single_issuer, "single issuer");
    add(features_.absolute_timer, "absolute timer");
    add(features_.no_iowait, "no iowait");
    add(features_.incremental_buffers, "incremental buffers");
    add(features_.fast_send, "fast send");
    add(features_.messages, "ring messages");
    return text;
}

}  // namespace ouro::uring
