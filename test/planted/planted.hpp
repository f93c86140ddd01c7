// Included into every copied source: asks whether a planted bug is switched on.
#pragma once

namespace ouro {

/// Whether bug `number` is the one named by the environment variable OURO_PLANTED. When it is, that
/// is noted in the file OURO_PLANTED_MARK names, so that a bug nobody reaches can be told from one
/// nobody notices.
bool planted(int number) noexcept;

}  // namespace ouro
