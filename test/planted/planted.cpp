// Which bug is switched on, and whether the program came by it.
#include "planted.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace ouro {
namespace {

int chosen() noexcept {
    const char* const number = std::getenv("OURO_PLANTED");
    return number ? std::atoi(number) : 0;
}

/// One byte of the file, mapped: noting costs no descriptor then, and forked children share it.
char* map_mark() noexcept {
    static char nowhere;
    const char* const path = std::getenv("OURO_PLANTED_MARK");
    const int fd = path ? ::open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return &nowhere;
    void* const memory = ::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    return memory == MAP_FAILED ? &nowhere : static_cast<char*>(memory);
}

const int number_on = chosen();
char* const mark = map_mark();

}  // namespace

bool planted(int number) noexcept {
    if (number != number_on) return false;
    *mark = '1';
    return true;
}

}  // namespace ouro
