// The entry point of every test binary. --list-kernel-tests names the tests that need the real
// kernel, and why.
#include <boost/test/unit_test.hpp>

#include <iostream>
#include <string_view>

#include "registry.hpp"

int main(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == "--list-kernel-tests") {
        ouro::test::print_kernel_tests(std::cout);
        return 0;
    }
    return boost::unit_test::unit_test_main([] { return true; }, argc, argv);
}
