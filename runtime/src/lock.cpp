// Locks.
#include <ouro/runtime/lock.hpp>

#include <system_error>

namespace ouro {

void lock::release() {
    if (!locked_) {
        throw std::system_error(make_error_code(errc::invalid_state),
                                "release a lock that is not locked");
    }
    give_back();
}

}  // namespace ouro
