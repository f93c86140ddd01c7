// A folder for the files of a test.
#include "scratch_folder.hpp"

#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include <cstdio>
#include <cstdlib>

#include <ouro/runtime/io.hpp>
#include <ouro/testing/simulation.hpp>

namespace ouro::test {

scratch_folder::scratch_folder() {
    char name[] = "/tmp/ouro-test-XXXXXX";
    BOOST_REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
}
scratch_folder::~scratch_folder() {
    // Not by std::filesystem, which needs memory that a test may have taken away.
    const auto gone = [](const char* path, const struct stat*, int, FTW*) {
        return ::remove(path);
    };
    ::nftw(path_.c_str(), gone, 8, FTW_DEPTH | FTW_PHYS);
}

void make_file(const std::string& path) {
    if (auto* simulated = testing::simulation::try_current()) {
        BOOST_REQUIRE(simulated->make_file(path));
        return;
    }
    const int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    BOOST_REQUIRE_GE(fd, 0);
    ::close(fd);
}
bool file_exists(const std::string& path) {
    return io::identify_file(loop::current(), path.c_str()).has_value();
}
void remove_file(const std::string& path) {
    BOOST_REQUIRE(io::remove_file(loop::current(), path.c_str()).has_value());
}

}  // namespace ouro::test
