module ouro.bench/runtime

go 1.18
