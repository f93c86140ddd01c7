// The list behind OURO_ASYNC_TEST and OURO_KERNEL_TEST.
#include "registry.hpp"

#include <ostream>
#include <string_view>
#include <vector>

namespace ouro::test {
namespace {

// Inside a function: registrations run before main, in any order of files.
std::vector<async_test>& tests() {
    static std::vector<async_test> all;
    return all;
}

std::string_view without_folders(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

registration::registration(const async_test& made) { tests().push_back(made); }

std::span<const async_test> all_async_tests() { return tests(); }

void print_kernel_tests(std::ostream& out) {
    for (const async_test& each : tests()) {
        if (!each.kernel_only) continue;
        out << each.name << " (" << without_folders(each.file) << "): " << each.kernel_only << '\n';
    }
}

}  // namespace ouro::test
