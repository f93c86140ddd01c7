// Children of a test.
#include "child_process.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>

namespace ouro::test {
namespace {

constexpr unsigned patience_seconds = 60;

std::string content_of(int file) {
    std::string text;
    char piece[4096];
    for (off_t at = 0;;) {
        const ssize_t count = ::pread(file, piece, sizeof piece, at);
        if (count <= 0) return text;
        text.append(piece, static_cast<std::size_t>(count));
        at += count;
    }
}

/// The test framework turns fatal signals into failures of a test; in a child they have to end it.
void become_an_ordinary_process() {
    for (int number :
         {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGALRM, SIGTERM, SIGPIPE, SIGINT, SIGQUIT}) {
        std::signal(number, SIG_DFL);
    }
    ::alarm(patience_seconds);
}

}  // namespace

child_outcome in_child(function<int()> body) {
    const int errors = ::memfd_create("errors", MFD_CLOEXEC);
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        become_an_ordinary_process();
        ::dup2(errors, 2);
        int code = 99;
        try {
            code = body();
        } catch (const std::exception& thrown) {
            std::fprintf(stderr, "%s\n", thrown.what());
        }
        std::fflush(stderr);
        ::_exit(code);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    child_outcome outcome;
    outcome.errors = content_of(errors);
    ::close(errors);
    if (WIFSIGNALED(status)) {
        outcome.signal = WTERMSIG(status);
    } else {
        outcome.exit_code = WEXITSTATUS(status);
    }
    return outcome;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

captured_stderr::captured_stderr()
    : file_(::memfd_create("stderr", MFD_CLOEXEC)), before_(::dup(2)) {
    std::fflush(stderr);
    ::dup2(file_, 2);
}
captured_stderr::~captured_stderr() {
    std::fflush(stderr);
    ::dup2(before_, 2);
    ::close(before_);
    ::close(file_);
}
std::string captured_stderr::text() const {
    std::fflush(stderr);
    return content_of(file_);
}

}  // namespace ouro::test
