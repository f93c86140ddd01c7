// What a child is to be, as the door takes it.
#pragma once

#include <string>
#include <vector>

#include <ouro/proto/subprocess.hpp>
#include <ouro/runtime/io.hpp>

namespace ouro::detail {

/// The arguments, paths, environment and descriptors of a child that is about to be made. Owns the
/// child's ends of the pipes, which are closed with it.
class spawn_plan {
  public:
    spawn_plan(loop& home, std::vector<std::string> arguments, subprocess_options options);
    ~spawn_plan();
    spawn_plan(const spawn_plan&) = delete;
    spawn_plan& operator=(const spawn_plan&) = delete;

    /// Whether all that can be meant.
    result<> check() const;
    /// Makes the pipes; `ours[fd]` is our end, counted, or -1.
    result<> make_pipes(int (&ours)[3]);
    /// Starts the program.
    result<io::child> start();
    bool signals_group() const noexcept { return options_.kill_group; }

  private:
    const stdio& wanted(int fd) const noexcept;
    int place_of(int fd) const noexcept;
    void find_paths();

    loop& home_;
    std::vector<std::string> arguments_;
    subprocess_options options_;
    int theirs_[3] = {-1, -1, -1};  // the child's ends of pipes
    std::vector<std::string> paths_;
};

}  // namespace ouro::detail
