// Watermarks.
#include <ouro/proto/flow_control.hpp>

#include <cstdint>

namespace ouro {

std::error_code flow_control::set_limits(std::ptrdiff_t high_bytes,
                                         std::ptrdiff_t low_bytes) noexcept {
    if (high_bytes < -1 || low_bytes < -1) return make_error_code(errc::value_error);
    if (high_bytes == -1) {
        if (low_bytes > PTRDIFF_MAX / 4) return make_error_code(errc::value_error);
        high_bytes = low_bytes == -1 ? std::ptrdiff_t{default_high_bytes} : 4 * low_bytes;
    }
    if (low_bytes == -1) low_bytes = high_bytes / 4;
    if (high_bytes < low_bytes) return make_error_code(errc::value_error);
    high_ = static_cast<std::size_t>(high_bytes);
    low_ = static_cast<std::size_t>(low_bytes) & (SIZE_MAX >> 1);
    return {};
}

}  // namespace ouro
