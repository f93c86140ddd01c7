// The suite under torture: every asynchronous test again and again, each time with one more thing
// going wrong.
#pragma once

#include <span>

namespace ouro::test {

/// Runs `torture MODE [options]`, as given to a test binary; `torture help` tells more.
///
/// Result  an exit code: 0 when no run crashed, left something behind or kept its loop from
///         closing.
int torture(std::span<char*> arguments);

}  // namespace ouro::test
