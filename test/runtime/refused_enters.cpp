// Stands before syscall(2) of the C library, through which the ring is entered.
#include "refused_enters.hpp"

#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

namespace ouro::test {
namespace {

constinit thread_local unsigned refusals_left = 0;
constinit thread_local int refusal = 0;

}  // namespace

refused_enters::refused_enters(unsigned count, int failure) noexcept {
    refusals_left = count;
    refusal = failure;
}
refused_enters::~refused_enters() { refusals_left = 0; }
unsigned refused_enters::left() const noexcept { return refusals_left; }

}  // namespace ouro::test

extern "C" long syscall(long number, ...) noexcept {
    using call = long (*)(long, ...);
    static const auto of_the_library = reinterpret_cast<call>(::dlsym(RTLD_NEXT, "syscall"));
    if (number == __NR_io_uring_enter && ouro::test::refusals_left > 0) {
        --ouro::test::refusals_left;
        errno = ouro::test::refusal;
        return -1;
    }
    std::va_list given;
    va_start(given, number);
    long arguments[6];
    for (long& each : arguments) each = va_arg(given, long);
    va_end(given);
    return of_the_library(number, arguments[0], arguments[1], arguments[2], arguments[3],
                          arguments[4], arguments[5]);
}
