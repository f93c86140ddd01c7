// What OURO_ASYNC_TEST and OURO_KERNEL_TEST leave behind: a list of all such tests of the binary,
// for drivers that run them again under other conditions.
#pragma once

#include <iosfwd>
#include <span>

#include <ouro/runtime/task.hpp>

namespace ouro::test {

/// A test whose body is a task.
struct async_test {
    const char* name;
    task<> (*body)();
    const char* file;
    int line;
    const char* kernel_only;   ///< why it needs the real kernel; null when it does not
    const char* not_tortured;  ///< why its body cannot be ended early; null when it can
};

/// All of this binary, in the order of their definitions within a file.
std::span<const async_test> all_async_tests();

/// Writes one line for each test that needs the real kernel: name, file, reason.
void print_kernel_tests(std::ostream& out);

/// Puts a test into the list.
struct registration {
    explicit registration(const async_test& made);
};

}  // namespace ouro::test
