// Semaphores.
#include <ouro/runtime/semaphore.hpp>

#include <system_error>

namespace ouro {

semaphore::semaphore(std::ptrdiff_t permit_count, std::ptrdiff_t limit)
    : free_count_(permit_count), limit_(limit) {
    if (permit_count < 0) {
        throw std::system_error(make_error_code(errc::value_error),
                                "a semaphore with a negative number of permits");
    }
}

void semaphore::release() {
    if (free_count_ >= limit_) {
        throw std::system_error(make_error_code(errc::value_error),
                                "release a semaphore that has all its permits");
    }
    give_back();
}

}  // namespace ouro
