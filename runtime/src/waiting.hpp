// Which tasks are left, and where each of them waits.
#pragma once

#include <string>

namespace ouro::detail {

class task_core;
struct loop_state;

/// "sleep, at server.cpp:88, called at main.cpp:12".
std::string where_it_waits(const task_core& task);
/// A line for each task that is not done.
std::string who_is_left(loop_state& home);

}  // namespace ouro::detail
