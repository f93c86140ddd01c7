// Runs a piece of a test in a forked child, for what ends, limits or forbids a whole process.
#pragma once

#include <string>

#include <ouro/runtime/function.hpp>

namespace ouro::test {

/// How a child ended and what it wrote on stderr.
struct child_outcome {
    int exit_code = -1;  ///< -1 when a signal ended it
    int signal = 0;      ///< 0 when it exited
    std::string errors;
};

/// Forks, runs `body` in the child and exits with what it returns, without running destructors of
/// the parent's objects there. An exception that leaves `body` is printed and exits with 99; a
/// child that hangs is ended by SIGALRM.
child_outcome in_child(function<int()> body);

/// True when `text` has `part` in it.
bool contains(const std::string& text, const std::string& part);

/// Collects what is written on descriptor 2 while it lives.
class captured_stderr {
  public:
    captured_stderr();
    ~captured_stderr();
    captured_stderr(const captured_stderr&) = delete;
    captured_stderr& operator=(const captured_stderr&) = delete;
    std::string text() const;

  private:
    int file_;
    int before_;
};

}  // namespace ouro::test
