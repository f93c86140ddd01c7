// A file without a name, for tests of what reads files.
#pragma once

#include <boost/test/unit_test.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <string_view>
#include <utility>

namespace ouro::test {

/// Holds `content`; its position is at the start. No descriptor of the loop's, in simulations too.
class temporary_file {
  public:
    explicit temporary_file(std::string_view content) : fd_(::memfd_create("test", MFD_CLOEXEC)) {
        BOOST_REQUIRE(fd_ >= 0);
        while (!content.empty()) {
            const auto written = ::write(fd_, content.data(), content.size());
            BOOST_REQUIRE(written > 0);
            content.remove_prefix(static_cast<std::size_t>(written));
        }
        ::lseek(fd_, 0, SEEK_SET);
    }
    temporary_file(temporary_file&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    temporary_file& operator=(temporary_file&&) = delete;
    ~temporary_file() {
        if (fd_ >= 0) ::close(fd_);
    }
    int fd() const noexcept { return fd_; }
    long position() const noexcept { return ::lseek(fd_, 0, SEEK_CUR); }

  private:
    int fd_;
};

}  // namespace ouro::test
