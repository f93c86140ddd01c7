// The lack of descriptors, on purpose.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

namespace ouro::test {

/// No further descriptor can be opened as long as it lives.
class no_descriptors {
  public:
    no_descriptors() {
        BOOST_REQUIRE_EQUAL(::getrlimit(RLIMIT_NOFILE, &before_), 0);
        const int lowest_free = ::dup(0);
        ::close(lowest_free);
        rlimit none = before_;
        none.rlim_cur = static_cast<rlim_t>(lowest_free);
        BOOST_REQUIRE_EQUAL(::setrlimit(RLIMIT_NOFILE, &none), 0);
    }
    no_descriptors(const no_descriptors&) = delete;
    no_descriptors& operator=(const no_descriptors&) = delete;
    ~no_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  private:
    rlimit before_{};
};

}  // namespace ouro::test
