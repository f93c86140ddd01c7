// The entry point of every test binary. --list-kernel-tests names the tests that need the real
// kernel, and why; `torture` runs the tests while things go wrong.
#include <boost/test/unit_test.hpp>

#include <iostream>
#include <string_view>

#include "registry.hpp"
#include "torture.hpp"

int main(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == "--list-kernel-tests") {
        ouro::test::print_kernel_tests(std::cout);
        return 0;
    }
    if (argc > 1 && std::string_view(argv[1]) == "torture") {
        char** const rest = argv + 1;
        rest[0] = argv[0];
        return ouro::test::torture({rest, static_cast<std::size_t>(argc - 1)});
    }
    return boost::unit_test::unit_test_main([] { return true; }, argc, argv);
}
