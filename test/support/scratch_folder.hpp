// A folder for the files of a test.
#pragma once

#include <string>

namespace ouro::test {

/// A folder of this test's own, gone at the end with all that is in it.
class scratch_folder {
  public:
    scratch_folder();
    ~scratch_folder();
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    /// A path in it.
    std::string file(const std::string& name = "socket") const { return path_ + "/" + name; }

  private:
    std::string path_;
};

/// Puts an empty file at `path`, or, in a simulation, into its world.
void make_file(const std::string& path);
/// True when something is at `path`.
bool file_exists(const std::string& path);
/// Removes what is there.
void remove_file(const std::string& path);

}  // namespace ouro::test
