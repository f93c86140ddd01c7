// A program under a protocol: what it writes is collected, its end is waited for.
#include <cstdio>
#include <memory>
#include <string>

#include <ouro/ouro.hpp>

class date_protocol : public ouro::subprocess_protocol {
  public:
    explicit date_protocol(ouro::promise<std::string> all) : all_(std::move(all)) {}

    void pipe_data_received(int, ouro::bytes data) override { output_ += ouro::as_text(data); }
    // Not `process_exited`: what the program wrote last may come after that.
    void connection_lost(ouro::error) override { all_.set_value(std::move(output_)); }

  private:
    ouro::promise<std::string> all_;
    std::string output_;
};

ouro::task<int> show_date() {
    ouro::promise<std::string> all;
    auto [child, protocol] = co_await ouro::subprocess_exec(
        [&] { return std::make_shared<date_protocol>(all); }, {"date", "-u", "+%Y-%m-%d %H:%M:%S"},
        {.in = ouro::stdio::devnull, .err = ouro::stdio::inherit});
    const std::string date = co_await all.get_future();
    std::printf("Current date: %s", date.c_str());
    co_return *child->return_code();
}

int main() { return ouro::run(show_date); }
