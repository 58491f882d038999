"""Mathematics of diffusion: noise schedules and samplers; knows neither faces nor networks."""
