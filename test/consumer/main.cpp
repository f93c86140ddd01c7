// What a user's first program needs: the umbrella header, a library that links, a loop that runs.
#include <ouro/ouro.hpp>

ouro::task<int> answer() { co_return 42; }

int main() {
    ouro::loop loop;
    const auto got = loop.run_until_complete(answer());
    return got && *got == 42 ? 0 : 1;
}
