// Lines from the standard input to the standard output, numbered: a filter in a pipeline, which
// waits for its input and its output without a thread.
#include <string>

#include <ouro/ouro.hpp>

ouro::task<> number_lines() {
    auto in = co_await ouro::open_standard_input();
    auto out = co_await ouro::open_standard_output();
    for (int number = 1;; ++number) {
        const std::string_view line = co_await in.readline();
        if (line.empty()) break;  // the end of the input
        out.write(std::to_string(number) + " " + std::string(line));
        co_await out.drain();  // whoever reads the output may be slow, or gone
    }
    out.close();
    co_await out.wait_closed();
}

int main() { return ouro::run(number_lines); }
